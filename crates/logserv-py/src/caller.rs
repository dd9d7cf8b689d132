//! Who calls a logger: file, line and function, as `Logger.findCaller` finds them.
//!
//! In: the frame that runs. Out: the first one that is not the library's own, or a later one (`stacklevel`). What can be
//! known from a code object alone is remembered with it.

use std::sync::{Arc, OnceLock};

use logserv_wire::record::{field_head, tag};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::names::Standard;
use crate::sys::gil::WithGil;
use crate::sys::interpreter::{code_of, current_frame, instruction_of, line_of};

/// Code objects remembered at most, in places that follow from their address: of two that share one the newer stays. A
/// program has some hundred that log. Each keeps its module's code from being freed.
const SITES_MAX: usize = 1024;

/// What is known from a code object.
#[derive(Debug)]
pub(crate) struct Site {
    code: Py<PyAny>,
    /// `co_filename`.
    pub(crate) path_name: Py<PyString>,
    /// `os.path.basename` of it.
    pub(crate) file_name: Py<PyString>,
    /// That without its extension.
    pub(crate) module: Py<PyString>,
    /// `co_name`.
    pub(crate) func_name: Py<PyString>,
    /// Whether the library skips its frames.
    is_internal: bool,
    /// Lines of the last calls from here, each with the instruction that it belongs to: to find one Python goes through
    /// the lines of all the code before it.
    lines: WithGil<[(i32, u32); LINES_MAX]>,
    /// The texts as a record has them, for each choice of them.
    fields: [OnceLock<Option<Box<[u8]>>>; CHOICES],
}

/// Choices of the four texts.
const CHOICES: usize = 16;

/// Calls of loggers remembered for each function.
const LINES_MAX: usize = 16;

/// A place in a program.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) site: Arc<Site>,
    pub(crate) line_no: u32,
}

/// The caller of the native method that runs, `stacklevel` (at least 1) frames up. `source`: the library's own file name.
/// `None`: only the library knows.
#[inline]
pub(crate) fn find(py: Python<'_>, source: &str, mut stacklevel: u64) -> Option<Caller> {
    let mut frame = current_frame(py)?;
    loop {
        let site = site_of(&code_of(&frame), source)?;
        if !site.is_internal {
            stacklevel -= 1;
        }
        if stacklevel > 0 {
            // Where there is no more the library takes the last.
            let back = frame.getattr(intern!(py, "f_back")).ok()?;
            if !back.is_none() {
                frame = back;
                continue;
            }
        }
        let line_no = site.line_of(&frame)?;
        return Some(Caller { site, line_no });
    }
}

impl Site {
    /// The fields of those texts that are among `wanted`, bits of [`Standard`], as a record has them. `None`: one of them has
    /// lone surrogates.
    #[inline]
    pub(crate) fn fields(&self, py: Python<'_>, wanted: u32) -> Option<&[u8]> {
        let wants = |standard: Standard, bit: usize| if wanted & standard.bit() == 0 { 0 } else { bit };
        let choice = wants(Standard::PathName, 1)
            | wants(Standard::FileName, 2)
            | wants(Standard::Module, 4)
            | wants(Standard::FuncName, 8);
        self.fields
            .get(choice)?
            .get_or_init(|| self.encode(py, choice))
            .as_deref()
    }

    #[cold]
    fn encode(&self, py: Python<'_>, choice: usize) -> Option<Box<[u8]>> {
        let texts = [
            (tag::PATH_NAME, &self.path_name),
            (tag::FILE_NAME, &self.file_name),
            (tag::MODULE, &self.module),
            (tag::FUNC_NAME, &self.func_name),
        ];
        let mut bytes = Vec::new();
        for (place, (tag, text)) in texts.into_iter().enumerate() {
            if choice & 1 << place != 0 {
                let text = text.bind(py).to_str().ok()?;
                bytes.extend_from_slice(&field_head(tag, text.len()));
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        Some(bytes.into())
    }

    /// The line that a frame of this code is at.
    fn line_of(&self, frame: &Bound<'_, PyAny>) -> Option<u32> {
        let Some(instruction) = instruction_of(frame) else {
            return line_of(frame);
        };
        let py = frame.py();
        let place = usize::try_from(instruction / 2).ok()? % LINES_MAX;
        let known = self.lines.try_with(py, |lines| lines.get(place).copied());
        if let Some(Some((known, line))) = known
            && known == instruction
        {
            return Some(line);
        }
        let line = line_of(frame)?;
        self.lines.try_with(py, |lines| {
            if let Some(place) = lines.get_mut(place) {
                *place = (instruction, line);
            }
        });
        Some(line)
    }
}

fn site_of(code: &Bound<'_, PyAny>, source: &str) -> Option<Arc<Site>> {
    static SITES: WithGil<[Option<Arc<Site>>; SITES_MAX]> = WithGil::new([const { None }; SITES_MAX]);
    let py = code.py();
    let place = (code.as_ptr().addr() >> 4) % SITES_MAX;
    let known = SITES.try_with(py, |sites| {
        let site = sites.get(place)?.as_ref()?;
        code.is(&site.code).then(|| Arc::clone(site))
    });
    if let Some(Some(site)) = known {
        return Some(site);
    }
    let site = Arc::new(look(code, source)?);
    let evicted = SITES.try_with(py, |sites| sites.get_mut(place)?.replace(Arc::clone(&site)));
    drop(evicted); // may run finalizers
    Some(site)
}

#[cold]
fn look(code: &Bound<'_, PyAny>, source: &str) -> Option<Site> {
    let py = code.py();
    let text = |name: &str| code.getattr(name).ok()?.cast_into_exact::<PyString>().ok();
    let (path_name, func_name) = (text("co_filename")?, text("co_name")?);
    let path = path_name.to_str().ok()?;
    let file_name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let is_internal = path == source || path.contains("importlib") && path.contains("_bootstrap");
    Some(Site {
        file_name: PyString::new(py, file_name).unbind(),
        module: PyString::new(py, without_extension(file_name)).unbind(),
        path_name: path_name.unbind(),
        func_name: func_name.unbind(),
        is_internal,
        lines: WithGil::new([(-1, 0); LINES_MAX]),
        fields: [const { OnceLock::new() }; CHOICES],
        code: code.clone().unbind(),
    })
}

/// `os.path.splitext(name)[0]` of a name without slashes: leading dots begin no extension.
pub(crate) fn without_extension(name: &str) -> &str {
    let dots = name.len() - name.trim_start_matches('.').len();
    match name.rfind('.') {
        Some(dot) if dot >= dots && dot > 0 => name.get(..dot).unwrap_or(name),
        _ => name,
    }
}
