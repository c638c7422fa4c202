"""union: a directory of the tree and all below it at a second place, with a layer in memory that takes all changes."""
