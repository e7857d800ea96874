/* SPDX-License-Identifier: Apache-2.0 */
/*
 * encconf_judge FILE...: what kekd thinks of EncryptionConfigurations with the apiserver's rules,
 * secrets included, in the words of `kmsclient judge`: a line "accept FILE" or "refuse FILE: why".
 */
#include <errno.h>
#include <stdio.h>

#include "daemon/base/log.h"
#include "daemon/chain/encconf.h"

static int read_file(const char *path, char *text, size_t size, size_t *ret_len)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	size_t len = 0;

	if (!f)
		return -errno;
	len = fread(text, 1, size, f);
	if (ferror(f))
		return -EIO;
	if (len == size)
		return -EFBIG;
	*ret_len = len;
	return 0;
}

static int judge(const char *path)
{
	static char text[256 * 1024];
	_cleanup_(encconf_freep) struct encconf *enc = NULL;
	struct yaml_error err = { 0 };
	size_t len = 0;
	int r;

	r = read_file(path, text, sizeof(text), &len);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", path, errno_text(r));
		return r;
	}
	r = encconf_parse(span_of(text, len), path, ENCCONF_ALLOW_SECRETS, &enc, &err);
	if (r == 0)
		printf("accept %s\n", path);
	else
		printf("refuse %s: %s\n", path, err.text);
	return 0;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (judge(argv[i]) < 0)
			return 1;
	return argc > 1 ? 0 : 2;
}
