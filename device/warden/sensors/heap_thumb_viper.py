"""Reads the heap's allocation table on ARM's Thumb, in an eighth of the memory of `heap_viper`.

It does the same with the same array, block by block where a word has free and used ones. It has no
constants beside it, so that it is right where it is frozen for ARMv6-M, too.
"""

SLICE = 2050  # words that are all free; used ones count twice, mixed ones up to sixteen times


@micropython.asm_thumb
def read_table(r0, r1):
    """Go on with a pass, or begin one; return 1 if it is whole now, else 0.

    r0: the array, see heap_viper; r1: room for so many words, 0: for all.
    """
    ldr(r2, [r0, 56])
    sub(r2, r0, r2)  # the table
    mov(r6, 0x55)
    lsl(r7, r6, 8)
    orr(r6, r7)
    lsl(r7, r6, 16)
    orr(r6, r7)
    mov(r12, r6)  # the lower bit of each block
    cmp(r1, 0)
    bne(LIMITED)
    mov(r1, 1)
    lsl(r1, r1, 30)
    label(LIMITED)
    ldr(r3, [r0, 24])  # so many bytes are left
    ldr(r5, [r0, 44])  # the free run of which no end was seen yet
    cmp(r3, 0)
    bne(NEXT)
    mov(r5, 0)
    str(r5, [r0, 36])
    str(r5, [r0, 40])
    str(r5, [r0, 48])
    str(r5, [r0, 52])
    ldr(r3, [r0, 28])
    mov(r7, 3)
    and_(r7, r3)
    beq(NEXT)
    sub(r3, r3, r7)  # of the last word some bytes are behind the table
    add(r6, r2, r3)
    ldr(r4, [r6, 0])
    lsl(r6, r7, 3)
    neg(r6, r6)
    add(r6, 32)
    lsl(r4, r6)
    lsl(r7, r7, 2)
    b(BLOCK)

    label(NEXT)
    cmp(r3, 0)
    beq(WHOLE)
    cmp(r1, 0)
    ble(SLICED)
    sub(r1, 1)
    sub(r3, 4)
    add(r6, r2, r3)
    ldr(r4, [r6, 0])
    cmp(r4, 0)
    bne(SOME)
    add(r5, 16)
    b(NEXT)

    label(SOME)
    lsr(r6, r4, 1)
    orr(r6, r4)
    mov(r7, r12)
    and_(r6, r7)
    cmp(r6, r7)
    bne(MIXED)
    bl(END_RUN)
    ldr(r6, [r0, 52])  # an object's tails
    add(r6, 16)
    and_(r4, r7)
    beq(TAILS)
    mov(r6, 0)
    label(TAILS)
    str(r6, [r0, 52])
    ldr(r7, [r0, 48])
    cmp(r7, r6)
    bge(NEXT)
    str(r6, [r0, 48])
    b(NEXT)

    label(MIXED)
    sub(r1, 7)
    mov(r7, 0)
    str(r7, [r0, 52])
    mov(r7, 16)
    label(BLOCK)  # the highest first
    lsr(r6, r4, 30)
    bne(USED)
    add(r5, 1)
    b(BELOW)
    label(USED)
    cmp(r5, 0)
    beq(BELOW)
    bl(END_RUN)
    label(BELOW)
    lsl(r4, r4, 2)
    sub(r7, 1)
    bne(BLOCK)
    b(NEXT)

    label(END_RUN)
    sub(r1, 1)
    ldr(r6, [r0, 36])
    add(r6, r6, r5)
    str(r6, [r0, 36])
    ldr(r6, [r0, 40])
    cmp(r6, r5)
    bge(SHORTER)
    str(r5, [r0, 40])
    label(SHORTER)
    mov(r5, 0)
    bx(lr)

    label(WHOLE)
    bl(END_RUN)
    ldr(r7, [r0, 32])
    ldr(r6, [r0, 36])
    lsl(r6, r7)
    str(r6, [r0, 4])
    ldr(r6, [r0, 40])
    lsl(r6, r7)
    str(r6, [r0, 8])
    ldr(r6, [r0, 48])
    lsl(r6, r7)
    str(r6, [r0, 12])
    mov(r7, 1)
    b(SAVE)
    label(SLICED)
    mov(r7, 0)
    label(SAVE)
    str(r3, [r0, 24])
    str(r5, [r0, 44])
    mov(r0, r7)
