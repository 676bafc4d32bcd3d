"""YAML files and words in, one checked RunConfig out."""
