/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the vCPUs of tcg-code-store-test run. There are 1024 functions that
 * return a number. The first vCPU stores the number of a round into the code
 * of one after the other, by plain stores and by atomic ones, and then tells
 * the others by PUBLISHED: from then on each returns that number.
 *
 * Meanwhile, the others wait for the first to be held up, by the host. Then
 * they call the function that it is busy with. After the round one of them
 * calls all those again, having serialized.
 *
 * The first function of each page stays as it is, so that there is always
 * something of the page that is translated, and all stores are slow.
 *
 * After a change, in this directory:
 *   cpp -P tcg-code-store-guest.S | as --32 -o guest.o - &&
 *   objcopy -O binary -j .text guest.o guest.bin && xxd -i <guest.bin
 *
 * Copyright (c) 2026 The cram authors
 */

#define ROM     0xf0000         /* where this is seen below 1 MiB */
#define RUN     0x8000          /* u32: go on */
#define PUBLISHED 0x8040        /* u32: the round that is done */
#define SWEPT   0x8080          /* u32: the round after which all were called */
#define STALE   0x80c0          /* u32: calls that returned an older number */
#define VCPUS   0x8100          /* u32: vCPUs that got here */
#define CURRENT 0x8140          /* u32: the function that is stored to */
#define STACK   0x9000
#define CALLED  0xa000          /* u8 of each function: it was called */
#define CODE    0x20000         /* of each function, 64 bytes */
#define END     0x30000
#define ENTRY   3               /* movl $NUMBER, %eax; ret */
#define NUMBER  4

        .code16
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
        movl    $1, %eax
        lock xaddl %eax, VCPUS
        movl    %eax, %esp
        shll    $8, %esp
        addl    $STACK, %esp
        testl   %eax, %eax
        jnz     others

        movl    $CODE, %edi
1:
        movb    $0xb8, ENTRY(%edi)
        movl    $0, NUMBER(%edi)
        movb    $0xc3, NUMBER + 4(%edi)
        testl   $0xfff, %edi
        jnz     2f
        movl    $0x7fffffff, NUMBER(%edi)
2:
        addl    $64, %edi
        cmpl    $END, %edi
        jb      1b
        movl    $CODE, CURRENT
        xorl    %edx, %edx
        /* The other processors start at ff00:0000 */
        movl    $0x000c46ff, 0xfee00300

round:
        pause
        cmpl    $0, RUN
        je      round
        cmpl    %edx, SWEPT
        jne     round
        incl    %edx
        xorl    %eax, %eax
        movl    $CALLED, %edi
        movl    $((END - CODE) / 64), %ecx
        rep stosb
        movl    $CODE, %edi
3:
        testl   $0xfff, %edi
        jz      5f
        movl    %edi, CURRENT
        movl    %edx, %eax
        testl   $64, %edi
        jz      4f
        movl    %eax, NUMBER(%edi)
        jmp     5f
4:
        xchgl   %eax, NUMBER(%edi)
5:
        addl    $64, %edi
        cmpl    $END, %edi
        jb      3b
        movl    %edx, PUBLISHED
        jmp     round

others:
        movl    PUBLISHED, %esi
        xorl    %eax, %eax
        cpuid
        cmpl    %esi, SWEPT
        jne     sweep
        movl    CURRENT, %edi
        movl    $1000, %ecx
6:
        cmpl    %edi, CURRENT
        jne     others
        loop    6b
        movl    %edi, %ebx
        subl    $CODE, %ebx
        shrl    $6, %ebx
        movb    $1, CALLED(%ebx)
        call    check
        jmp     others

sweep:
        xorl    %ebx, %ebx
        movl    $CODE, %edi
7:
        testl   $0xfff, %edi
        jz      8f
        cmpb    $0, CALLED(%ebx)
        je      9f
8:
        call    check
9:
        incl    %ebx
        addl    $64, %edi
        cmpl    $END, %edi
        jb      7b
        movl    %esi, SWEPT
        jmp     others

        /* The function at %edi has to return %esi, or more */
check:
        leal    ENTRY(%edi), %ecx
        call    *%ecx
        subl    %esi, %eax
        jns     10f
        lock incl STALE
10:
        ret

        .balign 8
gdt:
        .quad   0
        .quad   0x00cf9b000000ffff
        .quad   0x00cf93000000ffff
gdt_register:
        .word   . - gdt - 1
        .long   ROM + gdt - begin
