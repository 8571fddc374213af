"""The energies of a fit (section 3.2), one a file: each a function of tensors alone."""
