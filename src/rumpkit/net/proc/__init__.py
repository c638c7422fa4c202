"""What Linux's /proc/net says, of a kernel of ours: texts that are made when somebody reads them.

Above all layers of `net`, beside the snapshots; reads, changes nothing.  `files.FILES` has the texts by name.
"""
