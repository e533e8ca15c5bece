/* builtin.S: the built-in model, a GGUF file, inside the library. See models/README.md. */
    .section .rodata
    .balign 64
    .globl pith__builtin_model
    .hidden pith__builtin_model
    .type pith__builtin_model, %object
pith__builtin_model:
    .incbin "models/builtin.gguf"
    .globl pith__builtin_model_end
    .hidden pith__builtin_model_end
    .type pith__builtin_model_end, %object
pith__builtin_model_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
