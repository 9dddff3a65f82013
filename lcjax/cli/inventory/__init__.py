"""What `info` tells: this machine and installation, what there is to choose from, and what a folder holds."""
