/* What tracers get wrong: stops and continued processes, signals to them, vfork, an exec from a thread, exit_group with many threads, many
 * threads and processes.  Prints "all" and ends with 5. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t got;
static int ready[2];
static void handler(int n) { got = n; }
static void check(int ok, const char *what) { if (!ok) { printf("failed: %s: %s\n", what, strerror(errno)); fflush(0); _exit(1); } }
static void *forever(void *arg) { for (;;) pause(); return arg; }
static void *nothing(void *arg) { socket(AF_INET, SOCK_STREAM, 77); return arg; }
static void *executes(void *arg) { execl(arg, arg, "executed", (char *)0); _exit(9); }

static pid_t child(void) {
  char c;
  pid_t p = fork();
  if (p) { check(read(ready[0], &c, 1) == 1, "ready"); return p; }
  struct sigaction a = {.sa_handler = handler};
  sigset_t all, none;
  sigfillset(&all); sigemptyset(&none);
  sigprocmask(SIG_BLOCK, &all, 0);
  sigaction(SIGUSR1, &a, 0);
  write(ready[1], "r", 1);
  while (!got) sigsuspend(&none);
  _exit(got == SIGUSR1 ? 42 : 43);
}

static void stops(void) {
  int s;
  pid_t p = child();
  for (int round = 0; round < 20; round++) {
    check(!kill(p, SIGSTOP), "stop");
    check(waitpid(p, &s, WUNTRACED) == p && WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP, "stopped");
    if (round == 19) check(!kill(p, SIGUSR1), "usr1");
    if (round == 19) { usleep(20000); check(waitpid(p, &s, WNOHANG) == 0, "still stopped"); }
    check(!kill(p, SIGCONT), "cont");
    if (round < 19) check(waitpid(p, &s, WCONTINUED) == p && WIFCONTINUED(s), "continued");
  }
  check(waitpid(p, &s, 0) == p && WIFEXITED(s) && WEXITSTATUS(s) == 42, "handled");
  p = child();
  kill(p, SIGSTOP);
  check(waitpid(p, &s, WUNTRACED) == p && WIFSTOPPED(s), "stopped");
  kill(p, SIGKILL);
  check(waitpid(p, &s, 0) == p && WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL, "killed while stopped");
}

static void starts(void) {
  for (int n = 0; n < 20; n++) {
    int s;
    pid_t p = vfork();
    if (!p) { execl("/bin/true", "true", (char *)0); _exit(8); }
    check(waitpid(p, &s, 0) == p && s == 0, "vfork");
  }
}

static void many(int threads, int forks) {
  for (int n = 0; n < threads; n++) {
    pthread_t t;
    check(!pthread_create(&t, 0, nothing, 0), "thread");
    pthread_join(t, 0);
  }
  for (int n = 0; n < forks; n++) {
    int s;
    pid_t p = fork();
    if (!p) _exit(7);
    check(waitpid(p, &s, 0) == p && WEXITSTATUS(s) == 7, "fork");
  }
}

int main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "executed")) {
    pthread_t t;
    for (int n = 0; n < 200; n++) pthread_create(&t, 0, forever, 0);
    puts("all");
    fflush(0);
    syscall(SYS_exit_group, 5);
  }
  pthread_t t;
  check(!pipe(ready), "pipe");
  stops();
  starts();
  many(argc > 1 ? atoi(argv[1]) : 100, argc > 2 ? atoi(argv[2]) : 50);
  pthread_create(&t, 0, forever, 0);
  pthread_create(&t, 0, executes, argv[0]);
  forever(0);
}
