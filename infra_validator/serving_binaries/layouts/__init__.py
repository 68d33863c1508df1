"""How servers want their model repository: one file each, which makes what is missing there and checks what a model brings along."""
