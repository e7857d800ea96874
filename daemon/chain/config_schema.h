/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of kekd.yaml for who describes them: kekctl config schema. */
#ifndef KEKD_CHAIN_CONFIG_SCHEMA_H
#define KEKD_CHAIN_CONFIG_SCHEMA_H

#include "daemon/base/yaml.h"

/* The whole file as one field: the tables that config_parse() reads by. */
extern const struct yaml_field config_schema;

#endif
