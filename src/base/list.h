/*
 * list.h - intrusive doubly linked list.
 *
 *     struct list waiting;  list_init(&waiting);
 *     list_push_back(&waiting, &io->link);
 *     struct io *io = list_entry(list_pop_front(&waiting), struct io, link);
 *
 * A node that is on no list has next == NULL (list_node_init, or after removal), so that
 * list_is_linked() can be asked.  Ownership: the list owns nothing.
 */
#ifndef TARN_BASE_LIST_H
#define TARN_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/check.h"

struct list_node {
    struct list_node *next, *prev;
};

struct list {
    struct list_node head;
};

#define list_entry(node, type, member) container_of(node, type, member)

static inline void list_init(struct list *list)
{
    list->head.next = list->head.prev = &list->head;
}

static inline void list_node_init(struct list_node *node)
{
    node->next = node->prev = NULL;
}

static inline bool list_is_linked(const struct list_node *node)
{
    return node->next != NULL;
}

static inline bool list_is_empty(const struct list *list)
{
    return list->head.next == &list->head;
}

static inline void list_insert_between(struct list_node *prev, struct list_node *node,
                                       struct list_node *next)
{
    check(!list_is_linked(node));
    node->prev = prev;
    node->next = next;
    prev->next = node;
    next->prev = node;
}

static inline void list_push_back(struct list *list, struct list_node *node)
{
    list_insert_between(list->head.prev, node, &list->head);
}

static inline void list_push_front(struct list *list, struct list_node *node)
{
    list_insert_between(&list->head, node, list->head.next);
}

static inline void list_remove(struct list_node *node)
{
    check(list_is_linked(node));
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_node_init(node);
}

/* NULL when empty. */
static inline struct list_node *list_front(const struct list *list)
{
    return list_is_empty(list) ? NULL : list->head.next;
}

static inline struct list_node *list_pop_front(struct list *list)
{
    struct list_node *node = list_front(list);
    if (node) list_remove(node);
    return node;
}

/* Moves everything from `from` to the end of `to`. */
static inline void list_splice_back(struct list *to, struct list *from)
{
    if (list_is_empty(from)) return;
    from->head.next->prev = to->head.prev;
    to->head.prev->next = from->head.next;
    from->head.prev->next = &to->head;
    to->head.prev = from->head.prev;
    list_init(from);
}

/* The _safe form allows removal of the current node. */
#define list_for_each(node, list)                                                                  \
    for (struct list_node *node = (list)->head.next; node != &(list)->head; node = node->next)
#define list_for_each_safe(node, list)                                                             \
    for (struct list_node *node = (list)->head.next, *node##_next = node->next;                    \
         node != &(list)->head; node = node##_next, node##_next = node->next)

#endif
