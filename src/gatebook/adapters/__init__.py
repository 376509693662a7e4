"""One file or package per outside thing, named port first. None imports another; each passes its port's contract suite."""
