// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzzes the state of the compressed card: sequences of stores, settlements,
 * trims, resizes and settings, played to its account and to books kept by brute
 * force.
 */
#include "../../qemu/account-model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	account_run(data, size);
	return 0;
}
