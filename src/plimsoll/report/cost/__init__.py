"""How to say what GPUs cost: one module per form."""
