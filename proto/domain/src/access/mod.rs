//! Who may do what: roles, the rights that RPCs ask for, and the tokens that carry a role.

mod exposure;
mod secret;
mod tokens;

pub use self::{
    exposure::{Exposed, Exposure},
    secret::Secret,
    tokens::{BadTokens, Grant, TokenId, TokenTable, grants},
};

/// What a token's bearer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// May do everything.
    Admin,
    /// Mines, and does what readers do.
    Miner,
    /// Asks the index, watches jobs and generates.
    Reader,
    /// A member of the cluster.
    Worker,
}

crate::words::words!(
    Role,
    "admin, miner, reader, worker",
    Admin = "admin",
    Miner = "miner",
    Reader = "reader",
    Worker = "worker"
);

/// What an RPC asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// Nothing: probes have no token.
    Open,
    /// To read the index and the jobs, and to generate.
    Read,
    /// To start and stop jobs.
    Mine,
    /// To be a part of the cluster.
    Join,
    /// To do what no other right covers.
    Rule,
}

/// The one table: services and methods as they stand in a request's path, and what they ask for.
const RIGHTS: [(&str, Right); 26] = [
    ("/grpc.health.v1.Health/Check", Right::Open),
    ("/grpc.health.v1.Health/Watch", Right::Open),
    ("/lode.v1.Lode/SubmitJob", Right::Mine),
    ("/lode.v1.Lode/EstimateJob", Right::Mine),
    ("/lode.v1.Lode/CancelJob", Right::Mine),
    ("/lode.v1.Lode/WatchJob", Right::Read),
    ("/lode.v1.Lode/ListJobs", Right::Read),
    ("/lode.v1.Lode/GetStatus", Right::Read),
    ("/lode.v1.Lode/ListConcepts", Right::Read),
    ("/lode.v1.Lode/TopUnits", Right::Read),
    ("/lode.v1.Lode/ShowUnit", Right::Read),
    ("/lode.v1.Lode/LayerShares", Right::Read),
    ("/lode.v1.Lode/Overlap", Right::Read),
    ("/lode.v1.Lode/Nearest", Right::Read),
    ("/lode.v1.Lode/Export", Right::Read),
    ("/lode.v1.Lode/Generate", Right::Read),
    ("/lode.v1.Lode/RenderChat", Right::Read),
    ("/lode.v1.Lode/Score", Right::Read),
    ("/lode.v1.Registry/Register", Right::Join),
    ("/lode.v1.Registry/Heartbeat", Right::Join),
    ("/lode.v1.Registry/Deregister", Right::Join),
    ("/lode.v1.Worker/Mine", Right::Join),
    ("/lode.v1.Worker/CountTokens", Right::Join),
    ("/lode.v1.Worker/FindHeld", Right::Join),
    ("/lode.v1.Worker/Generate", Right::Join),
    ("/lode.v1.Worker/Score", Right::Join),
];

/// The paths of all RPCs that the table knows.
pub fn rpcs() -> impl Iterator<Item = &'static str> {
    RIGHTS.iter().map(|(path, _)| *path)
}

impl Right {
    /// What the RPC at a path asks for; one that nobody thought of is the administrator's.
    pub fn of_rpc(path: &str) -> Self {
        RIGHTS.iter().find(|(known, _)| *known == path).map_or(Self::Rule, |(_, right)| *right)
    }

    /// What a path of the HTTP API asks for. Probes and metrics are no part of it, its description is for everyone.
    pub fn of_http(path: &str) -> Self {
        match path {
            "/openapi.json" => Self::Open,
            path if path.starts_with("/v1/") => Self::Read,
            _ => Self::Rule,
        }
    }

    /// Who has it, in words.
    pub fn holders(self) -> &'static str {
        match self {
            Self::Open => "nobody in particular",
            Self::Read => "a reader, a miner or an admin",
            Self::Mine => "a miner or an admin",
            Self::Join => "a worker or an admin",
            Self::Rule => "an admin",
        }
    }
}

impl Role {
    /// Whether it includes `right`.
    pub fn has(self, right: Right) -> bool {
        match self {
            Self::Admin => true,
            Self::Miner => matches!(right, Right::Open | Right::Read | Right::Mine),
            Self::Reader => matches!(right, Right::Open | Right::Read),
            Self::Worker => matches!(right, Right::Open | Right::Join),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_have_what_they_need_and_no_more() {
        let may = |role: Role, method: &str| role.has(Right::of_rpc(method));
        assert!(may(Role::Reader, "/lode.v1.Lode/Generate") && !may(Role::Reader, "/lode.v1.Lode/SubmitJob"));
        assert!(may(Role::Miner, "/lode.v1.Lode/CancelJob") && !may(Role::Miner, "/lode.v1.Registry/Register"));
        assert!(may(Role::Worker, "/lode.v1.Worker/Mine") && !may(Role::Worker, "/lode.v1.Lode/GetStatus"));
        assert!(may(Role::Admin, "/lode.v1.Lode/Later") && !may(Role::Miner, "/lode.v1.Lode/Later"));
        assert_eq!(Right::of_rpc("/grpc.health.v1.Health/Check"), Right::Open);
    }
}
