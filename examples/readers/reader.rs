// Read a vector with Rust's standard library alone, and check an Elman step
// with it.
//
//     rustc --edition 2021 -O reader.rs -o reader
//     ./reader FOLDER/elman/basic.safetensors
//
// Exit code 1 if an output differs by more than 1e-12.
// Rust has no SHA-256 in its library: check the printed one with `sha256sum`.

use std::collections::BTreeMap;
use std::{env, fs, process};

type Result<T> = std::result::Result<T, String>;

// --- a little JSON ----------------------------------------------------------

enum Json {
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    Text(String),
    Number(f64),
    Other, // true, false, null
}

impl Json {
    fn get(&self, key: &str) -> Result<&Json> {
        if let Json::Object(entries) = self {
            if let Some((_, value)) = entries.iter().find(|(k, _)| k == key) {
                return Ok(value);
            }
        }
        Err(format!("no entry {key:?}"))
    }

    fn text(&self) -> Result<&str> {
        match self {
            Json::Text(text) => Ok(text),
            _ => Err("expected a string".into()),
        }
    }

    fn sizes(&self) -> Result<Vec<usize>> {
        let Json::Array(items) = self else {
            return Err("expected an array".into());
        };
        // Beyond 2^53 a float skips whole numbers.
        let size = |item: &Json| match item {
            Json::Number(n) if (0.0..9007199254740992.0).contains(n) => Ok(*n as usize),
            _ => Err("a size or offset is out of range".into()),
        };
        items.iter().map(size).collect()
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn peek(&mut self) -> Result<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next().ok_or("JSON ends early".into())
    }

    fn take(&mut self, c: char) -> Result<()> {
        if self.peek()? != c {
            return Err(format!("JSON is malformed, expected {c:?}"));
        }
        self.rest = &self.rest[c.len_utf8()..];
        Ok(())
    }

    fn value(&mut self) -> Result<Json> {
        match self.peek()? {
            '"' => Ok(Json::Text(self.string()?)),
            '{' => {
                let mut entries = Vec::new();
                self.take('{')?;
                while self.peek()? != '}' {
                    let key = self.string()?;
                    self.take(':')?;
                    entries.push((key, self.value()?));
                    if self.peek()? != '}' {
                        self.take(',')?;
                    }
                }
                self.take('}')?;
                Ok(Json::Object(entries))
            }
            '[' => {
                let mut items = Vec::new();
                self.take('[')?;
                while self.peek()? != ']' {
                    items.push(self.value()?);
                    if self.peek()? != ']' {
                        self.take(',')?;
                    }
                }
                self.take(']')?;
                Ok(Json::Array(items))
            }
            _ => {
                let end = self.rest.find([',', ']', '}', ' ', '\n', '\r', '\t']);
                let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                self.rest = rest;
                match word {
                    "true" | "false" | "null" => Ok(Json::Other),
                    _ => word.parse().map(Json::Number).map_err(|e| format!("{word:?}: {e}")),
                }
            }
        }
    }

    fn string(&mut self) -> Result<String> {
        self.take('"')?;
        let mut out = String::new();
        let mut chars = self.rest.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => {
                    self.rest = chars.as_str();
                    return Ok(out);
                }
                '\\' => match chars.next() {
                    Some('u') => {
                        let hex: String = chars.by_ref().take(4).collect();
                        let code = u32::from_str_radix(&hex, 16).map_err(|e| e.to_string())?;
                        out.push(char::from_u32(code).unwrap_or('?'));
                    }
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some(other) => out.push(other),
                    None => break,
                },
                _ => out.push(c),
            }
        }
        Err("JSON ends early".into())
    }
}

fn parse(text: &str) -> Result<Json> {
    Parser { rest: text }.value()
}

// --- the file ---------------------------------------------------------------

struct Array {
    shape: Vec<usize>,
    data: Vec<f64>, // C order; empty where the file has no float64
}

fn arrays_of(bytes: &[u8]) -> Result<BTreeMap<String, Array>> {
    let early = || "the file ends early".to_string();
    let length: [u8; 8] = bytes.get(..8).ok_or_else(early)?.try_into().unwrap();
    let length = usize::try_from(u64::from_le_bytes(length)).map_err(|_| early())?;
    let rest = &bytes[8..];
    let header = rest.get(..length).ok_or_else(early)?;
    let data = &rest[length..];
    let header = std::str::from_utf8(header).map_err(|e| e.to_string())?;
    let Json::Object(entries) = parse(header)? else {
        return Err("the header is no object".into());
    };
    let mut arrays = BTreeMap::new();
    for (name, entry) in entries {
        if name == "__metadata__" {
            continue;
        }
        let shape = entry.get("shape")?.sizes()?;
        let offsets = entry.get("data_offsets")?.sizes()?;
        let [begin, end] = offsets[..] else {
            return Err(format!("{name} has not two offsets"));
        };
        let raw = data.get(begin..end).ok_or(format!("{name} lies outside the file"))?;
        let mut numbers = Vec::new();
        if entry.get("dtype")?.text()? == "F64" {
            let number = |b: &[u8]| f64::from_le_bytes(b.try_into().unwrap());
            numbers = raw.chunks_exact(8).map(number).collect();
            if numbers.len() != shape.iter().product() || raw.len() % 8 != 0 {
                return Err(format!("{name} has another size"));
            }
        }
        arrays.insert(name, Array { shape, data: numbers });
    }
    Ok(arrays)
}

// --- an Elman network over it -----------------------------------------------

fn run(path: &str) -> Result<bool> {
    let read = |p: &str| fs::read(p).map_err(|e| format!("{p}: {e}"));
    let beside = path.replace(".safetensors", ".json");
    let text = String::from_utf8(read(&beside)?).map_err(|e| e.to_string())?;
    let manifest = parse(&text)?;
    let v = arrays_of(&read(path)?)?;
    println!("{} - {}", manifest.get("name")?.text()?, manifest.get("breaks")?.text()?);
    println!("sha256 (not checked) {}", manifest.get("checksum")?.text()?);
    for (name, array) in &v {
        if array.shape != manifest.get("arrays")?.get(name)?.get("shape")?.sizes()? {
            return Err(format!("{name} has not the manifest's shape"));
        }
        println!("  {name} {:?}", array.shape);
    }

    let find = |name: &str| v.get(name).ok_or(format!("no array {name}"));
    let (x, y) = (find("x")?, find("y")?);
    let (w_xh, w_hh) = (find("params/W_xh")?, find("params/W_hh")?);
    let b_h = find("params/b_h")?;
    let [n_time, n_batch, n_in] = x.shape[..] else {
        return Err("x has not three axes".into());
    };
    let n_hid = b_h.shape[0];
    let mut h = find("state0/h")?.data.clone();
    let (mut worst, mut close) = (0.0f64, true);
    for t in 0..n_time {
        let mut next = vec![0.0; n_batch * n_hid];
        for b in 0..n_batch {
            for j in 0..n_hid {
                let mut a = b_h.data[j];
                for i in 0..n_in {
                    a += x.data[(t * n_batch + b) * n_in + i] * w_xh.data[i * n_hid + j];
                }
                for i in 0..n_hid {
                    a += h[b * n_hid + i] * w_hh.data[i * n_hid + j];
                }
                next[b * n_hid + j] = a.tanh();
                let off = (a.tanh() - y.data[(t * n_batch + b) * n_hid + j]).abs();
                worst = worst.max(off);
                close = close && off <= 1e-12; // false for NaN, which max drops
            }
        }
        h = next;
    }
    println!("y recomputed: largest difference {worst:.1e}");
    Ok(close)
}

fn main() {
    let Some(path) = env::args().nth(1) else {
        eprintln!("usage: reader FOLDER/elman/basic.safetensors");
        process::exit(2);
    };
    match run(&path) {
        Ok(true) => (),
        Ok(false) => process::exit(1),
        Err(error) => {
            eprintln!("{path}: {error}");
            process::exit(2);
        }
    }
}
