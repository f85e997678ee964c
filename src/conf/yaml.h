/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * YAML as a tree that knows lines and columns, for configs and for rules.  Values
 * of configs have ${NAME}, ${NAME:-default} and $$ replaced; keys are literal.  Anchors,
 * aliases and several documents are refused: a config needs none, and aliases
 * can blow up.
 */
#include "conf/place.h"

enum yaml_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct yaml_node {
	enum yaml_kind kind;
	bool null; /* a scalar of nothing, ~ or null, unquoted */
	struct str text;
	struct place place;
	struct str key; /* as a member of a map */
	struct place key_place;
	struct yaml_node *first, *next; /* members; the next member of the same parent */
	size_t n;
};

/* The tree of `text`, in the arena; NULL when it is empty or no YAML.  Problems are added;
 * those with single values leave a tree, as its other problems are worth telling too.
 * `file`, which places refer to, outlives the tree. */
struct yaml_node *yaml_read(
	struct str text, const char *file, struct arena *arena, struct conf_errors *errors);
/* The same with $ as it stands: for texts of others, which must not read our environment. */
struct yaml_node *yaml_read_literal(
	struct str text, const char *file, struct arena *arena, struct conf_errors *errors);
/* The same, and as PyYAML's safe_load reads: &anchors, *aliases (copied, within the limits), merges
 * (<<), and the last one of a key that is there twice.  For configurations of programs in Python.
 */
struct yaml_node *yaml_read_foreign(
	struct str text, const char *file, struct arena *arena, struct conf_errors *errors);
