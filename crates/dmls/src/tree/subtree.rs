//! A subtree: an immutable node with all below it, shared by the trees that have it in common (RFC 9420 s4.1).

use std::sync::{Arc, OnceLock};

use crate::crypto::HpkePublicKey;
use crate::registry::CredentialType;

use super::{LeafIndex, LeafNode, NodeIndex, ParentNode};

/// A node and all below it. It never changes: a changed tree has a new subtree at each node of the changed path.
pub(super) struct Subtree {
    index: NodeIndex,
    /// How many leaves below are not blank.
    occupied: u32,
    /// Nothing if every leaf below is blank.
    credentials: Option<Arc<CredentialSummary>>,
    content: Content,
    /// The tree hash (s7.8), once it was asked for.
    pub(super) hash: OnceLock<Box<[u8]>>,
}

/// What is at the head of a subtree.
pub(super) enum Content {
    /// Every node is blank, so the children are not there.
    Blank,
    /// A member.
    Leaf(Box<LeafNode>),
    /// A parent node, blank or not.
    Parent {
        /// Nothing if blank.
        node: Option<ParentNode>,
        /// Left and right.
        children: [Arc<Subtree>; 2],
    },
}

/// The credential types of the leaves below a node. Both lists are sorted.
#[derive(PartialEq, Eq)]
pub(super) struct CredentialSummary {
    /// In use by some leaf.
    pub(super) used: Box<[CredentialType]>,
    /// Supported by every leaf.
    pub(super) supported: Box<[CredentialType]>,
}

impl Subtree {
    pub(super) fn blank(index: NodeIndex) -> Arc<Self> {
        Self::new(index, 0, None, Content::Blank)
    }

    /// A leaf; it shares the summary of its neighbour if that is the same.
    pub(super) fn leaf(
        index: LeafIndex,
        leaf: LeafNode,
        neighbour: Option<&Arc<CredentialSummary>>,
    ) -> Arc<Self> {
        let own = CredentialSummary::of(&leaf);
        let summary = match neighbour {
            Some(summary) if **summary == own => Arc::clone(summary),
            _ => Arc::new(own),
        };
        Self::new(index.node(), 1, Some(summary), Content::Leaf(Box::new(leaf)))
    }

    pub(super) fn parent(
        index: NodeIndex,
        node: Option<ParentNode>,
        left: Arc<Self>,
        right: Arc<Self>,
    ) -> Arc<Self> {
        if node.is_none() && left.is_blank() && right.is_blank() {
            return Self::blank(index);
        }
        let summary = CredentialSummary::join(left.credentials.as_ref(), right.credentials.as_ref());
        let occupied = left.occupied + right.occupied;
        Self::new(index, occupied, summary, Content::Parent { node, children: [left, right] })
    }

    fn new(
        index: NodeIndex,
        occupied: u32,
        credentials: Option<Arc<CredentialSummary>>,
        content: Content,
    ) -> Arc<Self> {
        Arc::new(Self { index, occupied, credentials, content, hash: OnceLock::new() })
    }

    pub(super) fn index(&self) -> NodeIndex {
        self.index
    }

    pub(super) fn occupied(&self) -> u32 {
        self.occupied
    }

    pub(super) fn credentials(&self) -> Option<&Arc<CredentialSummary>> {
        self.credentials.as_ref()
    }

    pub(super) fn content(&self) -> &Content {
        &self.content
    }

    /// Whether every node is blank. Only then is the resolution of the head empty.
    pub(super) fn is_blank(&self) -> bool {
        matches!(self.content, Content::Blank)
    }

    /// Whether no leaf is blank.
    pub(super) fn is_full(&self) -> bool {
        self.occupied == self.index.span().1
    }

    pub(super) fn leaf_node(&self) -> Option<&LeafNode> {
        match &self.content {
            Content::Leaf(leaf) => Some(leaf),
            _ => None,
        }
    }

    pub(super) fn parent_node(&self) -> Option<&ParentNode> {
        match &self.content {
            Content::Parent { node, .. } => node.as_ref(),
            _ => None,
        }
    }

    pub(super) fn public_key(&self) -> Option<&HpkePublicKey> {
        match &self.content {
            Content::Blank => None,
            Content::Leaf(leaf) => Some(&leaf.encryption_key),
            Content::Parent { node, .. } => node.as_ref().map(|node| &node.encryption_key),
        }
    }

    /// The children that are there.
    pub(super) fn stored_children(&self) -> Option<&[Arc<Self>; 2]> {
        match &self.content {
            Content::Parent { children, .. } => Some(children),
            _ => None,
        }
    }

    /// The children, made up if this is blank. A leaf has none.
    pub(super) fn children(&self) -> Option<[Arc<Self>; 2]> {
        match &self.content {
            Content::Parent { children, .. } => Some(children.clone()),
            _ => Some([Self::blank(self.index.left()?), Self::blank(self.index.right()?)]),
        }
    }

    /// The subtree at a place, if it is there: blank ones may not be.
    pub(super) fn at(&self, node: NodeIndex) -> Option<&Self> {
        let mut here = self;
        while here.index != node {
            let [left, right] = here.stored_children()?;
            here = if node < here.index { left } else { right };
        }
        Some(here)
    }

    /// A copy of the path to a leaf with another leaf and other parent nodes; the rest is shared.
    pub(super) fn with_path(
        &self,
        leaf: LeafIndex,
        leaf_node: Option<LeafNode>,
        parent_node: &mut dyn FnMut(NodeIndex, Option<&ParentNode>) -> Option<ParentNode>,
    ) -> Arc<Self> {
        let Some([mut left, mut right]) = self.children() else {
            return match leaf_node {
                Some(leaf_node) => Self::leaf(leaf, leaf_node, self.credentials.as_ref()),
                None => Self::blank(self.index),
            };
        };
        let node = parent_node(self.index, self.parent_node());
        let child = if leaf.node() < self.index { &mut left } else { &mut right };
        *child = child.with_path(leaf, leaf_node, parent_node);
        Self::parent(self.index, node, left, right)
    }

    /// The leftmost blank leaf.
    pub(super) fn first_blank(&self) -> Option<LeafIndex> {
        if self.is_full() {
            return None;
        }
        match &self.content {
            Content::Parent { children: [left, right], .. } => {
                left.first_blank().or_else(|| right.first_blank())
            }
            _ => Some(self.index.span().0),
        }
    }

    /// The nearest non-blank nodes, and the leaves that don't know their keys.
    ///
    /// RFC 9420 s4.1.1: "The resolution of a non-blank node comprises the node itself, followed by its list of
    /// unmerged leaves [..] The resolution of a blank intermediate node is the result of concatenating the resolution
    /// of its left child with the resolution of its right child".
    pub(super) fn resolution(&self, out: &mut Vec<NodeIndex>) {
        match &self.content {
            Content::Blank => {}
            Content::Leaf(_) => out.push(self.index),
            Content::Parent { node: Some(node), .. } => {
                out.push(self.index);
                out.extend(node.unmerged_leaves.iter().map(|leaf| leaf.node()));
            }
            Content::Parent { node: None, children: [left, right] } => {
                left.resolution(out);
                right.resolution(out);
            }
        }
    }

    /// Visits all places where two trees do not share: with what the old one and what the new one has there.
    pub(super) fn compare(
        old: Option<&Arc<Self>>,
        new: Option<&Arc<Self>>,
        visit: &mut dyn FnMut(Option<&Self>, Option<&Self>),
    ) {
        let level = |tree: Option<&Arc<Self>>| tree.map(|tree| tree.index.level());
        let children = |tree: Option<&'_ Arc<Self>>| match tree.and_then(|tree| tree.stored_children()) {
            Some([left, right]) => [Some(left.clone()), Some(right.clone())],
            None => [None, None],
        };
        let (old_children, new_children) = match (old, new) {
            (None, None) => return,
            (Some(old), Some(new)) if Arc::ptr_eq(old, new) => return,
            // The smaller tree is below the left child of the larger.
            (Some(_), Some(_)) if level(old) > level(new) => {
                visit(old.map(|old| &**old), None);
                (children(old), [new.cloned(), None])
            }
            (Some(_), Some(_)) if level(old) < level(new) => {
                visit(None, new.map(|new| &**new));
                ([old.cloned(), None], children(new))
            }
            _ => {
                visit(old.map(|old| &**old), new.map(|new| &**new));
                (children(old), children(new))
            }
        };
        for (old, new) in old_children.iter().zip(&new_children) {
            Self::compare(old.as_ref(), new.as_ref(), visit);
        }
    }
}

impl CredentialSummary {
    fn of(leaf: &LeafNode) -> Self {
        let mut supported = leaf.capabilities.credentials.clone();
        supported.sort_unstable();
        supported.dedup();
        Self { used: [leaf.credential.credential_type()].into(), supported: supported.into() }
    }

    /// Types that either uses, types that both support; shared with a child where it is the same.
    fn join(one: Option<&Arc<Self>>, other: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let (Some(one), Some(other)) = (one, other) else { return one.or(other).cloned() };
        if Arc::ptr_eq(one, other) || one == other {
            return Some(Arc::clone(one));
        }
        let mut used = [&one.used[..], &other.used[..]].concat();
        used.sort_unstable();
        used.dedup();
        let both = |t: &&CredentialType| other.supported.binary_search(t).is_ok();
        let supported = one.supported.iter().filter(both).copied().collect();
        let joined = Self { used: used.into(), supported };
        Some(match () {
            () if joined == **one => Arc::clone(one),
            () if joined == **other => Arc::clone(other),
            () => Arc::new(joined),
        })
    }
}
