//! Who calls a logger: file, line and function, as `Logger.findCaller` finds them.
//!
//! In: the frame that runs. Out: the first one that is not the library's own, or a later one (`stacklevel`). What can be
//! known from a code object alone is remembered with it.

use std::sync::{Arc, Mutex};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::sys::interpreter::{code_of, current_frame, line_of};

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
    lines: Mutex<[(i32, u32); LINES_MAX]>,
}

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
    /// The line that a frame of this code is at.
    fn line_of(&self, frame: &Bound<'_, PyAny>) -> Option<u32> {
        let instruction: i32 = frame
            .getattr(intern!(frame.py(), "f_lasti"))
            .ok()?
            .extract()
            .ok()?;
        let place = usize::try_from(instruction / 2).ok()? % LINES_MAX;
        if let Ok(lines) = self.lines.try_lock()
            && let Some((known, line)) = lines.get(place)
            && *known == instruction
        {
            return Some(*line);
        }
        let line = line_of(frame)?;
        if let Ok(mut lines) = self.lines.try_lock()
            && let Some(place) = lines.get_mut(place)
        {
            *place = (instruction, line);
        }
        Some(line)
    }
}

fn site_of(code: &Bound<'_, PyAny>, source: &str) -> Option<Arc<Site>> {
    static SITES: Mutex<[Option<Arc<Site>>; SITES_MAX]> = Mutex::new([const { None }; SITES_MAX]);
    let place = (code.as_ptr().addr() >> 4) % SITES_MAX;
    if let Ok(sites) = SITES.try_lock()
        && let Some(Some(site)) = sites.get(place)
        && code.is(&site.code)
    {
        return Some(Arc::clone(site));
    }
    let site = Arc::new(look(code, source)?);
    let evicted = SITES
        .try_lock()
        .ok()
        .and_then(|mut sites| sites.get_mut(place)?.replace(Arc::clone(&site)));
    drop(evicted); // may run finalizers, so not under the lock
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
        lines: Mutex::new([(-1, 0); LINES_MAX]),
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
