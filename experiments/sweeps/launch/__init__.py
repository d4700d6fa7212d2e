"""Where a sweep's runs are trained: in this process, in several of this machine, or on a cluster."""
