"""From a TOML file, or keywords, to a checked spec, and from that to a booted kernel with its links and guests."""
