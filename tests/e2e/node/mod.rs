//! Real pods on a node with a real kubelet: the operator as Helm installs it, and those that mount what it makes.

mod doctor;
mod mounted;
mod pods;
mod policy;
mod recipes;
mod site;
mod staging;
mod tutorial;
mod uninstall;
