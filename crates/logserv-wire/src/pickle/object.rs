//! The text for what Python would have to import and call: `<module.Name(arguments, attribute=value)>`.
//!
//! In: an [`Object`] or a global. Out: text, as `repr.rs` has it; sets, byte arrays and `bytes`, which some protocols
//! write as calls, look as they do in Python.

use super::arena::Object;
use super::machine::Machine;
use super::node::Node;
use super::repr::Repr;
use super::text::{len_in_frame, text, text_up_to};
use super::work::{OverBudget, Work};
use crate::limits::VALUE_DEPTH_MAX;

/// The class's module as Python 3 calls it.
fn modern(module: &str) -> &str {
    match module {
        "__builtin__" | "exceptions" => "builtins",
        "copy_reg" => "copyreg",
        other => other,
    }
}

impl Repr<'_, '_> {
    pub(super) fn object(&mut self, object: Object) -> Result<(), OverBudget> {
        let arena = &self.machine.arena;
        let args: Vec<Node> = match object.args {
            Node::Tuple(id) => arena.nodes(id).take(3).collect(),
            _ => Vec::new(),
        };
        let is_plain = [object.kwargs, object.state, object.items, object.pairs] == [Node::Absent; 4];
        let class = self.global(object.class);
        let class = class
            .as_ref()
            .map(|(module, name)| (modern(module), name.as_str()));
        match (class, args.as_slice()) {
            // Protocols that have no opcode for sets and byte arrays write them as calls.
            (Some(("builtins", "set")), &[Node::List(id)]) if is_plain => return self.node(Node::Set(id)),
            (Some(("builtins", "frozenset")), &[Node::List(id)]) if is_plain => {
                return self.node(Node::FrozenSet(id));
            }
            (Some(("builtins", "bytearray")), _) if is_plain => {
                if let Some(bytes) = self.byte_array(&args)? {
                    self.push("bytearray(")?;
                    self.bytes(&bytes)?;
                    return self.push(")");
                }
            }
            (Some(("_codecs", "encode")), _) if is_plain => {
                if let Some(bytes) = latin1_of_object(self.machine, self.frame, object, self.work)? {
                    return self.bytes(&bytes);
                }
            }
            // Protocols 0 and 1 make an instance so, by its class, a base and the base's value.
            (Some(("copyreg", "_reconstructor")), &[class @ Node::Global(_), _, value]) => {
                self.push("<")?;
                self.name(class)?;
                self.push("(")?;
                if value != Node::None {
                    self.node(value)?;
                }
                return self.parts(object);
            }
            _ => {}
        }
        self.push("<")?;
        self.name(object.class)?;
        self.push("(")?;
        match object.args {
            Node::Tuple(id) => self.items("", id, "")?,
            other => self.node(other)?,
        }
        self.parts(object)
    }

    /// What an object has been given beyond its arguments, and the end.
    fn parts(&mut self, object: Object) -> Result<(), OverBudget> {
        for part in [object.items, object.pairs] {
            if part != Node::Absent {
                self.separate()?;
                self.node(part)?;
            }
        }
        for part in [object.kwargs, object.state] {
            match part {
                Node::Absent => {}
                Node::Dict(id) if !self.path.contains(&part) && self.path.len() < VALUE_DEPTH_MAX => {
                    self.path.push(part);
                    let result = self.keywords(id);
                    self.path.pop();
                    result?;
                }
                other => {
                    self.separate()?;
                    self.node(other)?;
                }
            }
        }
        self.push(")>")
    }

    fn keywords(&mut self, id: u32) -> Result<(), OverBudget> {
        let machine = self.machine;
        for slice in machine.arena.slices(id) {
            for pair in slice.chunks_exact(2) {
                let &[key, value] = pair else { continue };
                self.separate()?;
                self.work.bytes(len_in_frame(key))?;
                match text(key, self.frame) {
                    Some(name) => self.push(&name)?,
                    None => self.node(key)?,
                }
                self.push("=")?;
                self.node(value)?;
            }
        }
        Ok(())
    }

    /// Module and name of a global, where they are texts of a sensible length.
    fn global(&self, node: Node) -> Option<(String, String)> {
        global_of(self.machine, self.frame, node)
    }

    /// `module.Name` of a class; whatever else is called shows as itself.
    pub(super) fn name(&mut self, class: Node) -> Result<(), OverBudget> {
        match self.global(class) {
            Some((module, name)) => {
                self.push(modern(&module))?;
                self.push(".")?;
                self.push(&name)
            }
            None => self.node(class),
        }
    }

    fn byte_array(&mut self, args: &[Node]) -> Result<Option<Vec<u8>>, OverBudget> {
        match args {
            [] => Ok(Some(Vec::new())),
            &[Node::Bytes(span)] => Ok(Some(span.of(self.frame).to_vec())),
            &[Node::Object(id)] => latin1_of_object(
                self.machine,
                self.frame,
                self.machine.arena.object_at(id),
                self.work,
            ),
            &[source, _] => latin1(source, self.frame, self.work),
            _ => Ok(None),
        }
    }
}

/// Module and name of a global, each at most 1 KiB.
pub(super) fn global_of(machine: &Machine, frame: &[u8], node: Node) -> Option<(String, String)> {
    let Node::Global(id) = node else { return None };
    let mut parts = machine
        .arena
        .nodes(id)
        .filter_map(|part| text_up_to(part, frame, 1024));
    Some((parts.next()?.0.into_owned(), parts.next()?.0.into_owned()))
}

/// The bytes that `_codecs.encode(text, 'latin1')` stands for, which is how protocols below 3 write `bytes`.
pub(super) fn latin1_of_object(
    machine: &Machine,
    frame: &[u8],
    object: Object,
    work: &mut Work,
) -> Result<Option<Vec<u8>>, OverBudget> {
    let Node::Tuple(args) = object.args else {
        return Ok(None);
    };
    let Some((module, name)) = global_of(machine, frame, object.class) else {
        return Ok(None);
    };
    let mut args = machine.arena.nodes(args);
    match (
        modern(&module),
        name.as_str(),
        args.next(),
        args.next(),
        args.next(),
    ) {
        ("builtins", "bytes", None, ..) => Ok(Some(Vec::new())),
        ("_codecs", "encode", Some(source), Some(Node::Text(codec) | Node::EscapedText(codec)), None)
            if matches!(codec.of(frame), b"latin1" | b"latin-1") =>
        {
            latin1(source, frame, work)
        }
        _ => Ok(None),
    }
}

fn latin1(source: Node, frame: &[u8], work: &mut Work) -> Result<Option<Vec<u8>>, OverBudget> {
    work.bytes(len_in_frame(source).saturating_mul(2))?;
    Ok(text(source, frame).and_then(|text| text.chars().map(|letter| u8::try_from(letter).ok()).collect()))
}
