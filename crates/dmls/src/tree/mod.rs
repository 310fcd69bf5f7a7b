//! The ratchet tree (RFC 9420 s4, s7, Appendix C).

mod encoding;
pub(crate) mod index;
mod key_set;
mod leaf_node;
mod new_path;
mod parent_hash;
mod parent_node;
mod private;
mod ratchet_tree;
mod records;
mod subtree;
mod tree_hash;
mod update_path;
mod validation;

pub(crate) use index::LeafIndex;
pub use index::{NodeIndex, TreeSize};
pub(crate) use leaf_node::LeafPlace;
pub use leaf_node::{LeafNode, LeafNodeSource};
pub(crate) use new_path::{NewPath, new_update};
pub use parent_node::ParentNode;
pub(crate) use private::PrivateTree;
pub(crate) use ratchet_tree::PathStep;
pub use ratchet_tree::RatchetTree;
pub(crate) use records::TreeLoader;
pub(crate) use update_path::MergedPath;
pub use update_path::{UpdatePath, UpdatePathNode};
pub(crate) use validation::{Judge, LeafValidator, ValidLeaf};

#[cfg(test)]
mod tests;
