/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the two vCPUs of cxl-dirty-log-test run: as long as RUN is 1, each
 * fills a page of its own with noise and with zeros in turn. It stops at the
 * end of that page only. In between it touches one of 64 others, and now and
 * then flushes its TLB. As long as RUN is 2, it calls what is on the card.
 *
 * After a change, in this directory:
 *   cpp -P cxl-dirty-log-guest.S | as --32 -o guest.o - &&
 *   objcopy -O binary -j .text guest.o guest.bin && xxd -i <guest.bin
 *
 * Copyright (c) 2026 The cram authors
 */

#define ROM     0xf0000         /* where this is seen below 1 MiB */
#define RUN     0x8000          /* u32: go on */
#define SEEN    0x8004          /* u32 of each vCPU: the RUN it saw last */
#define RETURNED 0x800c         /* u32 of each vCPU: what the call returned */
#define SCRATCH 0x8014          /* what zeros, as code, add to */
#define STACK   0x9000
#define PDPT    0x10000
#define PD_LOW  0x11000
#define PD_CARD 0x12000
#define CARD    0x40000000      /* virtual; physically the first window */
#define OTHERS  (CARD + 0x2000) /* behind the pages of the two */

        .code16
        /* %ebx: 0 on the boot processor, 1 on the other */
begin:
        cli
        lgdtl   %cs:gdt_register - begin
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $0x8, $(ROM + protected - begin)

        .code32
protected:
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        testl   %ebx, %ebx
        jnz     paging

        /* The first 2 MiB as they are, 2 MiB of the window at CARD */
        movl    $(PD_LOW + 1), PDPT
        movl    $(PD_CARD + 1), PDPT + 8
        movl    $0x83, PD_LOW
        movl    $0x10000083, PD_CARD
        movl    $1, PD_CARD + 4

        /* The other processor starts at ff00:0000 */
        movl    $0x000c46ff, 0xfee00300

paging:
        movl    %cr4, %eax
        orl     $0x20, %eax
        movl    %eax, %cr4
        movl    $PDPT, %eax
        movl    %eax, %cr3
        movl    %cr0, %eax
        orl     $0x80000000, %eax
        movl    %eax, %cr0

        /* %esi: the noise, never 0; %ebp: what of it is stored */
        imull   $0x9e3779b9, %ebx, %esi
        xorl    $0x12345678, %esi
        xorl    %ebp, %ebp
idle:
        movl    RUN, %eax
        movl    %eax, SEEN(, %ebx, 4)
        cmpl    $2, %eax
        je      call
        testl   %eax, %eax
        jnz     page
        pause
        jmp     idle

call:
        movl    %ebx, %esp
        shll    $8, %esp
        addl    $STACK, %esp
        movl    $SCRATCH, %eax
        movl    $CARD, %ecx
        call    *%ecx
        movl    %eax, RETURNED(, %ebx, 4)
        jmp     idle

page:
        incl    %edx
        movl    %edx, %edi
        andl    $63, %edi
        jnz     1f
        movl    %cr3, %eax
        movl    %eax, %cr3
1:
        shll    $12, %edi
        movl    %ebx, %eax
        shll    $18, %eax
        movl    %esi, OTHERS(%eax, %edi)

        movl    %ebx, %edi
        shll    $12, %edi
        addl    $CARD, %edi
        movl    $1024, %ecx
        notl    %ebp
word:
        movl    %esi, %eax
        shll    $13, %eax
        xorl    %eax, %esi
        movl    %esi, %eax
        shrl    $17, %eax
        xorl    %eax, %esi
        movl    %esi, %eax
        shll    $5, %eax
        xorl    %eax, %esi
        movl    %esi, %eax
        andl    %ebp, %eax
        movl    %eax, (%edi)
        addl    $4, %edi
        decl    %ecx
        jnz     word
        cmpl    $0, RUN
        jne     page
        jmp     idle

        .balign 8
gdt:
        .quad   0
        .quad   0x00cf9b000000ffff
        .quad   0x00cf93000000ffff
gdt_register:
        .word   . - gdt - 1
        .long   ROM + gdt - begin
