// SPDX-License-Identifier: GPL-2.0-only
/*
 * Private memory nodes: frames that must not be written by their users.
 *
 * A node with PROTECT_WRITE is filled by migration only. Page table entries for
 * its pages never allow writing, and whoever wants to write has the page moved to
 * ordinary memory first. Here are the two halves of that; where page table
 * entries are made, and where writers come from, is all over mm/.
 */
#include <linux/mm.h>
#include <linux/huge_mm.h>
#include <linux/memory_hotplug.h>
#include <linux/mempolicy.h>
#include <linux/node_private.h>
#include <linux/pgtable.h>
#include <linux/vmstat.h>

#include "internal.h"

static bool pfn_is_fenced(unsigned long pfn)
{
	struct page *page = pfn_to_online_page(pfn);

	return page && page_is_fenced(page);
}

pte_t __node_private_fence_pte(pte_t pte)
{
	return pfn_is_fenced(pte_pfn(pte)) ? pte_wrprotect(pte) : pte;
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
/* A whole node is fenced or not: the first frame speaks for all. */
pmd_t __node_private_fence_pmd(pmd_t pmd)
{
	return pfn_is_fenced(pmd_pfn(pmd)) ? pmd_wrprotect(pmd) : pmd;
}
#endif

void __node_private_set_ptes(struct mm_struct *mm, unsigned long addr,
			     pte_t *ptep, pte_t pte, unsigned int nr)
{
	for (; nr; nr--, ptep++, addr += PAGE_SIZE, pte = pte_next_pfn(pte))
		set_pte_at(mm, addr, ptep, __node_private_fence_pte(pte));
}

/* Does the entry that the fault found map the page? */
static bool is_mapped_here(struct vm_fault *vmf)
{
	return (vmf->flags & FAULT_FLAG_ORIG_PTE_VALID) && pte_present(vmf->orig_pte) &&
	       pte_pfn(vmf->orig_pte) == page_to_pfn(vmf->page);
}

/**
 * node_private_fault - have a page that a fault is about moved home
 * @vmf: the fault, with @page set to a page on a private node; no page table lock is
 *	held, and a reference to the page's folio is used up
 * @reason: why it cannot stay
 *
 * Return: what the fault returns, or VM_FAULT_FALLBACK for anonymous memory that cannot
 * move and of which the caller may make a copy.
 */
vm_fault_t node_private_fault(struct vm_fault *vmf, enum node_promote_reason reason)
{
	const bool anon = PageAnon(vmf->page);
	bool in_fault;
	int rc;

	if (reason == NODE_PROMOTE_FAULT)
		count_vm_event(NODE_PRIVATE_FENCE_FAULT);
	/* To promote is to wait: for memory, and for the copy. */
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT) {
		put_page(vmf->page);
		return VM_FAULT_RETRY;
	}
	in_fault = reason == NODE_PROMOTE_FAULT && anon && is_mapped_here(vmf);
	rc = node_private_promote_at(vmf->page, vmf->vma, vmf->address, reason,
				     in_fault ? vmf : NULL);
	switch (rc) {
	case 0:
		return 0;
	case -ENOMEM:
		return VM_FAULT_OOM;
	case -EIO:
		return VM_FAULT_HWPOISON;
	case -EBUSY:
		if (anon)
			return VM_FAULT_FALLBACK;
	}

	/*
	 * Being killed, or not to be said now what the page holds. Without this the access
	 * that faulted would only be repeated.
	 */
	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY))
		return 0;
	release_fault_lock(vmf);
	return VM_FAULT_RETRY;
}
