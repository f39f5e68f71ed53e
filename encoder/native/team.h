// Threads that work on one forward pass together, and what they wait with.
//
// Not OpenMP: its idle threads spin for milliseconds beside torch and faiss, which cannot be changed from inside a library,
// and a compiler may lack it. A worker here spins for some 20 microseconds after its work and then sleeps.
#ifndef YUSA_TEAM_H
#define YUSA_TEAM_H

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

enum { MOST_THREADS = 64, SPINS = 1000 };

typedef struct {
    int threads;
    atomic_int arrived;
    atomic_int round;
} team;

typedef void work(void *job, int me, team *team);

static struct {
    pthread_mutex_t busy, lock;
    pthread_cond_t wake;
    int workers;
    pthread_t threads[MOST_THREADS];
    int avoided;
    work *work;
    void *job;
    team team;
    atomic_int calls;
    atomic_int unfinished;
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Until `*value` is no longer `old`. A thread that is not running must be let run: other programs want the cores, too.
static void await_change(atomic_int *value, int old) {
    for (int spins = 0; atomic_load_explicit(value, memory_order_acquire) == old; spins++) {
        if (spins < SPINS) relax();
        else sched_yield();
    }
}

// All threads of the team have come here, and see what the others wrote before.
static void meet(team *team) {
    if (team->threads == 1) return;
    int round = atomic_load(&team->round);
    if (atomic_fetch_add(&team->arrived, 1) == team->threads - 1) {
        atomic_store(&team->arrived, 0);
        atomic_store(&team->round, round + 1);
    } else {
        await_change(&team->round, round);
    }
}

static void *worker(void *number) {
    int me = (int)(intptr_t)number, seen = 0;
    for (;;) {
        for (int spins = 0; spins < SPINS && atomic_load(&pool.calls) == seen; spins++) relax();
        pthread_mutex_lock(&pool.lock);
        while (atomic_load(&pool.calls) == seen) pthread_cond_wait(&pool.wake, &pool.lock);
        seen = atomic_load(&pool.calls);
        int wanted = me < pool.team.threads;
        pthread_mutex_unlock(&pool.lock);
        if (!wanted) continue;
        pool.work(pool.job, me, &pool.team);
        atomic_fetch_sub(&pool.unfinished, 1);
    }
    return 0;
}

// A child of fork() has no workers, and perhaps locks that nobody will open.
static void forget_workers(void) {
    pool.busy = pool.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    pool.wake = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    pool.workers = 0;
    atomic_store(&pool.team.arrived, 0);
}

// As many workers as can be had, at most `wanted`.
static int hire(int wanted) {
    static int registered;
    if (!registered) registered = !pthread_atfork(0, 0, forget_workers);
    sigset_t every, before;
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);  // signals are for the threads of Python
    while (pool.workers < wanted) {
        pthread_t thread;
        // Its first call is the next one, as the lock is held until then.
        if (pthread_create(&thread, 0, worker, (void *)(intptr_t)(pool.workers + 1))) break;
        pthread_detach(thread);
        pool.threads[pool.workers++] = thread;
        pool.avoided = -1;
    }
    pthread_sigmask(SIG_SETMASK, &before, 0);
    return pool.workers < wanted ? pool.workers : wanted;
}

// Linux wakes a thread on the core of the one that wakes it, though another is idle, and leaves it there for the
// milliseconds that a forward pass takes; so workers may run on all cores that this thread may use but its own.
static void step_aside(void) {
#ifdef __linux__
    const int here = sched_getcpu();
    cpu_set_t cores;
    if (here == pool.avoided || sched_getaffinity(0, sizeof cores, &cores)) return;
    CPU_CLR(here, &cores);
    if (!CPU_COUNT(&cores)) return;
    for (int i = 0; i < pool.workers; i++) pthread_setaffinity_np(pool.threads[i], sizeof cores, &cores);
    pool.avoided = here;
#endif
}

// `work` on this thread and up to `threads` - 1 others; alone while they serve another call.
static void together(int threads, work *work, void *job) {
    team alone = {.threads = 1};
    if (threads < 2 || pthread_mutex_trylock(&pool.busy)) {
        work(job, 0, &alone);
        return;
    }
    pthread_mutex_lock(&pool.lock);
    int workers = hire((threads < MOST_THREADS ? threads : MOST_THREADS) - 1);
    step_aside();
    pool.work = work;
    pool.job = job;
    pool.team.threads = workers + 1;
    atomic_store(&pool.unfinished, workers);
    atomic_fetch_add(&pool.calls, 1);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    work(job, 0, &pool.team);
    for (int left; (left = atomic_load(&pool.unfinished));) await_change(&pool.unfinished, left);
    pthread_mutex_unlock(&pool.busy);
}

#endif
