"""Hosts (platforms): each implements the hypercalls for one kind of place where kernels run.

They stand on `hyper` alone and know nothing of what a kernel is made of.
"""
