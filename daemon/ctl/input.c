/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl/input.h"

#include <errno.h>
#include <fcntl.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/base/secmem.h"
#include "daemon/ctl/ctl.h"

void input_release(struct input *in)
{
	secmem_free(in->text, INPUT_ROOM);
}

int input_read(const char *path, struct input *ret)
{
	_cleanup_(input_release) struct input in = { 0 };
	_cleanup_close_ int fd = -1;
	int r;

	in.text = secmem_alloc(INPUT_ROOM);
	if (!in.text)
		return ctl_fail("no locked memory: %s; raise RLIMIT_MEMLOCK (ulimit -l)",
				errno_text(errno));
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return ctl_fail("%s: %s", path, errno_text(errno));
	r = io_read_all(fd, in.text, INPUT_ROOM, &in.len);
	if (r < 0)
		return ctl_fail("%s: %s", path, errno_text(r));
	if (in.len > YAML_BYTES_MAX)
		return ctl_fail("%s: more than %d bytes", path, YAML_BYTES_MAX);
	*ret = in;
	in.text = NULL;
	return 0;
}
