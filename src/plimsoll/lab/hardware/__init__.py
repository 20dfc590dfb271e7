"""The fake hardware: one process that plays what runs on GPU nodes where no GPU is.

conditions  what is wrong with which machine, as the lab's faults say
machine     which GPUs a node has; what NFD reads off it
layout      how MIG has cut each GPU; the layouts mig-manager is configured with
sharing     the device plugin's config: which one a node uses and what it makes of the GPUs
devices     the extended resources a node advertises
discovery   the labels of GPU feature discovery
kubelet     a pod's status as a kubelet writes it
operands    which operand waits for which; what keeps each from running
migmanager  the protocol of the label nvidia.com/mig.config
node        one node's objects to the writes that are due: a pure function
world       what is watched of the cluster
loop        who is due, and the writing
"""
