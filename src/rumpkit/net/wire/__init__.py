"""Wire formats: parse and emit of each header, checksums and software segmentation.

The leaf layer of the net faction, between `hyper.frame` below and the protocols above.  The contract that every
module here keeps:

- *parse* takes bytes and offsets (a view), checks every length before it reads, and never raises for what the bytes
  hold: malformed input gives None.  What else a parse checks, and what it leaves to the caller, its docstring says.
- *emit* takes values within their field's range (sequence numbers and timestamps are reduced modulo 2**32) and returns
  the header's bytes.
- Checksums are never checked by a transport's parse; see `offload.verify`.

Leaf functions that move many bytes come in two forms, told apart by `rumpkit._form.COMPILED`: native integers and
librt's byte helpers when compiled, `struct` and big integers when interpreted.  Both pass the same tests.
"""
