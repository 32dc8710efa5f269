/* Numbers that a program counts in a file of 8-byte words, and that others look at whenever they like. */
#ifndef COUNTERS_H
#define COUNTERS_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { COUNTERS = 512 };

static volatile uint64_t *counters(const char *path)
{
    int file = open(path, O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, COUNTERS * sizeof(uint64_t)))
        exit(1);
    return mmap(NULL, COUNTERS * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
}
#endif
