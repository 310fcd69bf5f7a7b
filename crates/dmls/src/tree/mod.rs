//! The ratchet tree (RFC 9420 s4, s7, Appendix C).

mod index;
mod leaf_node;
mod parent_node;
mod update_path;

pub use index::{LeafIndex, NodeIndex, TreeSize};
pub(crate) use leaf_node::LeafPlace;
pub use leaf_node::{LeafNode, LeafNodeSource};
pub use parent_node::ParentNode;
pub use update_path::{UpdatePath, UpdatePathNode};
