"""A network, a method and data in; trained weights and the epochs' metrics out."""
