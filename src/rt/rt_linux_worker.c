#include <stdlib.h>
#include <string.h>

#include "rt/rt_linux_int.h"

struct linux_worker {
    struct rt_worker base;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct list queue; /* rt_work; under lock */
    bool stop;         /* under lock: end when the queue is empty */
};

static struct rt_work *next_work(struct linux_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    while (list_is_empty(&worker->queue) && !worker->stop) {
        pthread_cond_wait(&worker->changed, &worker->lock);
    }
    struct list_node *node = list_pop_front(&worker->queue);
    pthread_mutex_unlock(&worker->lock);
    return node ? list_entry(node, struct rt_work, link) : NULL;
}

static void *worker_main(void *arg)
{
    struct linux_worker *worker = arg;
    struct rt_linux *l = rt_linux_of(worker->base.rt);
    struct rt_work *work;
    while ((work = next_work(worker))) {
        bool has_done = work->done != NULL; /* without it, work may be gone when fn returns */
        work->fn(work);
        if (has_done) rt_linux_mail(l, &l->works_done, &work->link);
    }
    return NULL;
}

struct err *rt_linux_thread_start(const char *name, void *(*fn)(void *arg), void *arg,
                                  pthread_t *ret_thread)
{
    pthread_t thread;
    sigset_t all, old;
    sigfillset(&all); /* signals are for the loop */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int code = pthread_create(&thread, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (code) return err_from_code(code, "start thread %s", name);
    char short_name[16]; /* the kernel's limit */
    strncpy(short_name, name, sizeof short_name - 1);
    short_name[sizeof short_name - 1] = '\0';
    pthread_setname_np(thread, short_name);
    *ret_thread = thread;
    return NULL;
}

struct err *rt_linux_worker_create(struct rt *rt, const char *name, struct rt_worker **ret_worker)
{
    struct linux_worker *worker = calloc(1, sizeof *worker);
    if (!worker) return err_new(STATUS_NO_MEMORY, "no memory for worker %s", name);
    worker->base.rt = rt;
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->changed, NULL);
    list_init(&worker->queue);
    struct err *e = rt_linux_thread_start(name, worker_main, worker, &worker->thread);
    if (e) {
        pthread_mutex_destroy(&worker->lock);
        pthread_cond_destroy(&worker->changed);
        free(worker);
        return e;
    }
    *ret_worker = &worker->base;
    return NULL;
}

void rt_linux_worker_destroy(struct rt_worker *base)
{
    struct linux_worker *worker = container_of(base, struct linux_worker, base);
    pthread_mutex_lock(&worker->lock);
    worker->stop = true;
    pthread_cond_signal(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
    pthread_join(worker->thread, NULL);
    pthread_mutex_destroy(&worker->lock);
    pthread_cond_destroy(&worker->changed);
    free(worker);
}

void rt_linux_work(struct rt_worker *base, struct rt_work *work)
{
    struct linux_worker *worker = container_of(base, struct linux_worker, base);
    pthread_mutex_lock(&worker->lock);
    list_push_back(&worker->queue, &work->link);
    pthread_cond_signal(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
}
