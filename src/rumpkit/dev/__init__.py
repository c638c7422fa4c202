"""The dev faction: devices, which register with the kernel's device switch (`rumpkit.kern.device`)."""
