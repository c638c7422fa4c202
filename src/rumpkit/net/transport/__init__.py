"""Transports: protocols above IP (UDP, TCP), and the ports that they give out."""
