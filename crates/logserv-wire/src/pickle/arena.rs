//! Where a pickle's containers lie: all items of all containers in one vector, as runs.
//!
//! A container is filled in pieces with other containers' pieces between them, so its items are a chain of runs.
//! Nothing here points by address: a container that holds itself is a number that occurs in its own run, and
//! forgetting everything is four times `clear`.

use super::node::Node;
use crate::limits::PICKLE_SLOTS_KEPT;

/// No run follows.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Run {
    start: u32,
    len: u32,
    next: u32,
}

#[derive(Debug, Clone, Copy)]
struct Container {
    first: u32,
    last: u32,
    /// Nodes in all runs.
    len: u32,
}

/// What Python would make by calling `class(*args, **kwargs)`, then giving it its items, pairs and state.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Object {
    pub class: Node,
    pub args: Node,
    pub kwargs: Node,
    pub state: Node,
    /// Of `APPENDS`: a list, or absent.
    pub items: Node,
    /// Of `SETITEMS`: a dict, or absent.
    pub pairs: Node,
}

#[derive(Debug, Default)]
pub(super) struct Arena {
    items: Vec<Node>,
    runs: Vec<Run>,
    containers: Vec<Container>,
    objects: Vec<Object>,
}

/// A length or index as the four bytes it is stored in; every vector is bounded by the nodes of a frame.
fn index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(NONE)
}

impl Arena {
    /// A new container of `nodes`.
    pub fn container(&mut self, nodes: &[Node]) -> u32 {
        let id = index(self.containers.len());
        self.containers.push(Container {
            first: NONE,
            last: NONE,
            len: 0,
        });
        self.extend(id, nodes);
        id
    }

    /// Appends `nodes` to a container.
    pub fn extend(&mut self, container: u32, nodes: &[Node]) {
        let Some(container) = self.containers.get_mut(container as usize) else {
            return;
        };
        if nodes.is_empty() {
            return;
        }
        let start = index(self.items.len());
        let added = index(nodes.len());
        self.items.extend_from_slice(nodes);
        container.len += added;
        let new_run = index(self.runs.len());
        match self.runs.get_mut(container.last as usize) {
            Some(last) if last.start + last.len == start => {
                last.len += added;
                return;
            }
            Some(last) => last.next = new_run,
            None => container.first = new_run,
        }
        container.last = new_run;
        self.runs.push(Run {
            start,
            len: added,
            next: NONE,
        });
    }

    pub fn global(&mut self, module: Node, name: Node) -> Node {
        Node::Global(self.container(&[module, name]))
    }

    pub fn object(&mut self, class: Node, args: Node, kwargs: Node) -> Node {
        let id = index(self.objects.len());
        self.objects.push(Object {
            class,
            args,
            kwargs,
            ..Object::default()
        });
        Node::Object(id)
    }

    /// `object` after `BUILD` with `state`; whatever else than an object is built becomes one, for show.
    pub fn with_state(&mut self, object: Node, state: Node) -> Node {
        let made = match object {
            Node::Object(_) => object,
            other => self.object(other, Node::Absent, Node::Absent),
        };
        if let Node::Object(id) = made
            && let Some(object) = self.objects.get_mut(id as usize)
        {
            object.state = state;
        }
        made
    }

    /// The container for what is appended to an object.
    pub fn items_of(&mut self, object: u32) -> u32 {
        let fresh = index(self.containers.len());
        match self.objects.get_mut(object as usize) {
            Some(Object {
                items: Node::List(list),
                ..
            }) => *list,
            Some(object) => {
                object.items = Node::List(fresh);
                self.container(&[])
            }
            None => NONE,
        }
    }

    /// The container for the pairs that are set on an object.
    pub fn pairs_of(&mut self, object: u32) -> u32 {
        let fresh = index(self.containers.len());
        match self.objects.get_mut(object as usize) {
            Some(Object {
                pairs: Node::Dict(dict),
                ..
            }) => *dict,
            Some(object) => {
                object.pairs = Node::Dict(fresh);
                self.container(&[])
            }
            None => NONE,
        }
    }

    pub fn object_at(&self, id: u32) -> Object {
        self.objects.get(id as usize).copied().unwrap_or_default()
    }

    /// How many nodes a container holds; a dict's keys count, too.
    pub fn len(&self, container: u32) -> usize {
        self.containers
            .get(container as usize)
            .map_or(0, |container| container.len as usize)
    }

    /// A container's nodes, in order; a dict's are key, value, key, value.
    pub fn nodes(&self, container: u32) -> impl Iterator<Item = Node> + '_ {
        self.slices(container).flatten().copied()
    }

    /// A container's nodes as the slices they lie in. A pair of a dict is never cut.
    pub fn slices(&self, container: u32) -> impl Iterator<Item = &[Node]> + '_ {
        let mut at = self
            .containers
            .get(container as usize)
            .map_or(NONE, |container| container.first);
        std::iter::from_fn(move || {
            let run = self.runs.get(at as usize)?;
            at = run.next;
            let start = run.start as usize;
            self.items.get(start..start + run.len as usize)
        })
    }

    /// The length of the longest of its vectors, to be held against a limit.
    pub fn largest(&self) -> usize {
        self.items
            .len()
            .max(self.containers.len())
            .max(self.objects.len())
    }

    pub fn clear(&mut self) {
        self.items.clear();
        self.items.shrink_to(PICKLE_SLOTS_KEPT);
        self.runs.clear();
        self.runs.shrink_to(PICKLE_SLOTS_KEPT);
        self.containers.clear();
        self.containers.shrink_to(PICKLE_SLOTS_KEPT);
        self.objects.clear();
        self.objects.shrink_to(PICKLE_SLOTS_KEPT);
    }
}
