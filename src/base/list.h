/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Doubly linked lists through a node embedded in the member.  Not thread-safe. */
#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *prev, *next; /* a head that points at itself is empty */
};

#define CONTAINER(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))
/* Walk; the current member may be removed. */
#define LIST_EACH(at, head)                                                                        \
	for (struct list *at = (head)->next, *at##_next = at->next; at != (head);                  \
		at = at##_next, at##_next = at->next)

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_append(struct list *head, struct list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

/* Leaves the node empty, so that removing twice is harmless. */
static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}
