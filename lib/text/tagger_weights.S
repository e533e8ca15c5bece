/* The tagger's weights, as bytes in the library. */
        .section .rodata
        .balign 64
        .global pith__tagger_weights
        .hidden pith__tagger_weights
        .type pith__tagger_weights, %object
pith__tagger_weights:
        .incbin "text/tagger_weights.bin"
        .size pith__tagger_weights, . - pith__tagger_weights
        .global pith__tagger_weights_end
        .hidden pith__tagger_weights_end
        .type pith__tagger_weights_end, %object
pith__tagger_weights_end:
        .byte 0
        .size pith__tagger_weights_end, 1
        .section .note.GNU-stack, "", %progbits
