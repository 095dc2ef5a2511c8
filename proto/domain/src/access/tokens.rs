//! The tokens of a cluster, and the file they come from.

use super::{Role, Secret};

/// One line of a token file.
#[derive(Clone, Debug)]
pub struct Grant {
    /// What the bearer is.
    pub role: Role,
    /// What the bearer shows.
    pub secret: Secret,
}

/// A token file that says something else than who may do what. No message repeats what the file holds.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadTokens {
    /// Something else than two words.
    #[error("line {line} is not ROLE TOKEN: a role (admin, miner, reader or worker), a space and a token")]
    NotALine {
        /// Its number, from 1.
        line: usize,
    },
    /// A token that cannot be sent.
    #[error("line {line}: a token is made of printable ASCII characters")]
    NotAscii {
        /// Its number, from 1.
        line: usize,
    },
    /// Which of the two roles would be meant?
    #[error("line {line} repeats the token of line {first}")]
    Repeated {
        /// Its number, from 1.
        line: usize,
        /// Where the token stood before.
        first: usize,
    },
    /// Nobody could do anything.
    #[error("there is no token in it: write lines of ROLE TOKEN")]
    Empty,
}

/// Reads a token file: `ROLE TOKEN` lines; empty ones and those that begin with `#` say nothing.
///
/// # Errors
/// If a line says something else, or none says anything.
pub fn grants(text: &str) -> Result<Vec<Grant>, BadTokens> {
    let mut found: Vec<(usize, Grant)> = Vec::new();
    for (line, words) in (1..).zip(text.lines()) {
        if words.trim().is_empty() || words.trim_start().starts_with('#') {
            continue;
        }
        let words: Vec<&str> = words.split_whitespace().collect();
        let [role, token] = words[..] else { return Err(BadTokens::NotALine { line }) };
        // The error of the role's own parser repeats the word, which may be a token in the wrong place.
        let role = role.parse().map_err(|_| BadTokens::NotALine { line })?;
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadTokens::NotAscii { line });
        }
        let secret = Secret::from(token);
        if let Some((first, _)) = found.iter().find(|(_, known)| known.secret.hash() == secret.hash()) {
            return Err(BadTokens::Repeated { line, first: *first });
        }
        found.push((line, Grant { role, secret }));
    }
    if found.is_empty() {
        return Err(BadTokens::Empty);
    }
    Ok(found.into_iter().map(|(_, grant)| grant).collect())
}

/// Tells a token from others without saying what it is; the same as long as the token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenId(u64);

/// Who bears which role, known by hashes: the tokens themselves are not kept.
#[derive(Clone)]
pub struct TokenTable(Vec<(Role, blake3::Hash)>);

impl TokenTable {
    /// The table of some grants.
    pub fn new(grants: &[Grant]) -> Self {
        Self(grants.iter().map(|grant| (grant.role, grant.secret.hash())).collect())
    }

    /// The role of whoever shows `secret`, and a number that tells it from others. Takes the same time whichever token it
    /// is, or none.
    pub fn find(&self, secret: &Secret) -> Option<(Role, TokenId)> {
        let shown = secret.hash();
        let [a, b, c, d, e, f, g, h, ..] = *shown.as_bytes();
        let id = TokenId(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
        self.0.iter().fold(None, |found, (role, known)| if *known == shown { Some((*role, id)) } else { found })
    }

    /// The role of whoever shows `secret`.
    pub fn role(&self, secret: &Secret) -> Option<Role> {
        self.find(secret).map(|(role, _)| role)
    }

    /// Whether anybody has `role`.
    pub fn has(&self, role: Role) -> bool {
        self.0.iter().any(|(known, _)| *known == role)
    }
}

impl std::fmt::Debug for TokenTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(role, _)| role)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_roles() {
        let read = grants("# ours\nadmin root-token\n\n  worker  w-token \nreader r-token\r\n").unwrap();
        let table = TokenTable::new(&read);
        assert_eq!(table.role(&"root-token".into()), Some(Role::Admin));
        assert_eq!(table.role(&"w-token".into()), Some(Role::Worker));
        assert_eq!(table.role(&"r-token".into()), Some(Role::Reader));
        assert_eq!(table.role(&"r-toke".into()), None);
        assert_eq!(table.role(&"".into()), None);
        assert!(table.has(Role::Worker) && !table.has(Role::Miner));
    }

    #[test]
    fn what_is_no_token_file_is_refused_and_not_repeated() {
        let refused = |text: &str, error: BadTokens| {
            let found = grants(text).unwrap_err();
            assert_eq!(found, error);
            assert!(!format!("{found} {found:?}").contains("hidden"));
        };
        refused("", BadTokens::Empty);
        refused("# admin hidden", BadTokens::Empty);
        refused("admin a\nhidden", BadTokens::NotALine { line: 2 });
        refused("hidden admin", BadTokens::NotALine { line: 1 });
        refused("admin hidden too", BadTokens::NotALine { line: 1 });
        refused("admin hiddén", BadTokens::NotAscii { line: 1 });
        refused("admin hidden\n\nreader hidden", BadTokens::Repeated { line: 3, first: 1 });
    }

    #[test]
    fn nothing_shows_a_token() {
        let read = grants("admin hidden").unwrap();
        assert!(!format!("{read:?}").contains("hidden"));
        assert_eq!(format!("{:?}", TokenTable::new(&read)), "[Admin]");
    }
}
