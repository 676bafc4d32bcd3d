"""What `robustrun doctor` looks at, one file for each part of a machine and an installation."""
