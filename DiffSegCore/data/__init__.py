"""Cases, patches and phantoms: what a training reads."""
