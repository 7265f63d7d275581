// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Loads the FPU environment, over and over, on the processor given, until it is
 * killed. Unprivileged code like it made QEMU's TCG lose state of the first vCPU.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char *argv[])
{
	char environment[28], *end;
	cpu_set_t processor;
	long number = argc == 2 ? strtol(argv[1], &end, 10) : -1;

	if (number < 0 || number >= CPU_SETSIZE || *end != '\0') {
		fputs("usage: fpuload PROCESSOR\n", stderr);
		return 2;
	}
	CPU_ZERO(&processor);
	CPU_SET((unsigned int)number, &processor);
	if (sched_setaffinity(0, sizeof(processor), &processor) < 0) {
		perror("fpuload: sched_setaffinity");
		return 1;
	}
	__asm__ volatile("fnstenv %0" : "=m"(environment));
	for (;;)
		__asm__ volatile("fldenv %0" : : "m"(environment));
}
