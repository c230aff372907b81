/* without_uring PROGRAM [ARGUMENT...]: runs a program where io_uring_setup fails with EPERM. */
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/deny.h"

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: without_uring PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    if (!deny_call(__NR_io_uring_setup, EPERM)) {
        printf("1..0 # SKIP this machine allows no filters of system calls\n");
        return 0;
    }
    execvp(argv[1], argv + 1);
    perror(argv[1]);
    return 1;
}
