//! Whole clusters: the executable, containerd, runc, nftables and stock kubectl, nothing faked.

mod definitions;
mod first_light;
mod joining;
mod network;
mod pods;
mod provisioner;
mod reaching;
mod restart;
mod runtime;
mod servers;
mod settings;
mod usage;
