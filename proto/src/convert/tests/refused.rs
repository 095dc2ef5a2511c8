//! Messages that say nothing that can be meant.

use super::*;

#[test]
fn malformed_messages_are_refused_by_field() {
    fn refused<W, D: TryFrom<W, Error = BadField> + std::fmt::Debug>(message: W) -> &'static str {
        D::try_from(message).unwrap_err().field
    }
    assert_eq!(refused::<_, Recipe>(wire::Recipe { pooling: 99, tokens: 1 }), "pooling");
    assert_eq!(refused::<_, Recipe>(wire::Recipe::default()), "pooling");
    assert_eq!(refused::<_, ConceptId>(wire::ConceptId::default()), "concept");
    assert_eq!(refused::<_, ModelRecord>(wire::Model::default()), "layers");
    assert_eq!(refused::<_, ModelRecord>(wire::Model { hash: vec![1], ..model().into() }), "hash");
    assert_eq!(refused::<_, ExpertiseBlock>(wire::ExpertiseBlock { ap: vec![0.5], ..Default::default() }), "block");
    assert_eq!(refused::<_, Sampling>(wire::Sampling::default()), "sampling");
    assert_eq!(refused::<_, ShardEvent>(wire::MineEvent::default()), "event");
    let whole = wire::Intervention { positions: 1, units: vec![1], values: vec![1.0], action: 1, window: None };
    assert!(Intervention::try_from(whole.clone()).is_ok());
    let lopsided = wire::Intervention { units: vec![1, 2], ..whole.clone() };
    assert_eq!(refused::<_, Intervention>(lopsided), "interventions");
    let nan = wire::Intervention { values: vec![f32::NAN], ..whole.clone() };
    assert_eq!(refused::<_, Intervention>(nan), "interventions");
    assert_eq!(refused::<_, Intervention>(wire::Intervention { action: 0, ..whole.clone() }), "action");
    assert_eq!(refused::<_, Intervention>(wire::Intervention { positions: 4, ..whole.clone() }), "window");
    let window = Some(wire::Window { from: 3, to: 3 });
    assert_eq!(refused::<_, Intervention>(wire::Intervention { positions: 4, window, ..whole.clone() }), "window");
    assert_eq!(refused::<_, Intervention>(wire::Intervention { window, ..whole }), "window");
    let given = wire::given_observation::Given::Held(vec![0; 15]);
    assert_eq!(refused::<_, Given<Observation>>(wire::GivenObservation { given: Some(given) }), "observations");
    let observation = |off, span| wire::Observation { units: vec![1], offs: vec![off], spans: vec![span] };
    assert_eq!(refused::<_, Observation>(observation(0.0, 0.0)), "observations");
    assert_eq!(refused::<_, Observation>(observation(f32::NAN, 1.0)), "observations");
    assert_eq!(
        refused::<_, Observation>(wire::Observation { units: vec![1, 2], ..observation(0.0, 1.0) }),
        "observations"
    );
    let condition = |value| wire::Condition::from(condition(value));
    assert_eq!(refused::<_, Condition>(condition(ForcingValue::Scale(f32::INFINITY))), "conditions");
    assert_eq!(refused::<_, Condition>(wire::Condition { target: None, ..condition(ForcingValue::Mean) }), "target");
    let listed = |units: &[&str]| {
        let units = units.iter().map(|unit| (*unit).to_owned()).collect();
        let target = Some(wire::condition::Target::Listed(wire::ListedUnits { units }));
        wire::Condition { target, ..condition(ForcingValue::Constant(0.0)) }
    };
    assert!(Condition::try_from(listed(&["h.0.mlp[3]", "4"])).is_ok());
    assert_eq!(refused::<_, Condition>(listed(&["h.0.mlp"])), "units");
    assert_eq!(refused::<_, Condition>(listed(&[])), "conditions");
    let many = vec![condition(ForcingValue::Mean); 65];
    let request = GenerateRequest {
        model: model().name,
        prompt: String::new(),
        conditions: vec![],
        observe: vec![],
        sampling: Sampling::default(),
        samples: 1,
        guide: None,
    };
    let wire = wire::GenerateRequest::from(request);
    let request = wire::GenerateRequest { conditions: many, ..wire.clone() };
    assert_eq!(refused::<_, GenerateRequest>(request), "conditions");
    let misshapen = Some(wire::Guide { vectors: vec![1.0], ..guide().into() });
    assert_eq!(refused::<_, GenerateRequest>(wire::GenerateRequest { guide: misshapen, ..wire }), "guide");
    let direction = wire::Direction { units: vec!["3".into()], amounts: vec![] };
    let target = Some(wire::condition::Target::Direction(direction));
    let lopsided = wire::Condition { target, ..condition(ForcingValue::Scale(1.0)) };
    assert_eq!(refused::<_, Condition>(lopsided), "direction");
    let part = wire::job_part::Concept { id: Some(concept().into()), positive: vec![0], negative: vec![] };
    let part = wire::JobPart { part: Some(wire::job_part::Part::Concept(part)) };
    assert!(JobAssembly::default().take(part).unwrap_err().to_string().contains("sentence 0 of 0"));
    assert!(JobAssembly::default().finish().is_err());
}

#[test]
fn details_that_cannot_be_are_refused() {
    let good = crate::convert::details::to_wire(details()).unwrap();
    assert_eq!(crate::convert::details::from_wire(Some(good.clone())).unwrap(), details());
    assert_eq!(crate::convert::details::from_wire(None).unwrap(), Details::default());
    let refused = |change: fn(&mut wire::Details)| {
        let mut bad = good.clone();
        change(&mut bad);
        crate::convert::details::from_wire(Some(bad)).unwrap_err().field
    };
    assert_eq!(refused(|bad| bad.interval_highs.clear()), "details");
    assert_eq!(refused(|bad| bad.interval_lows[0] = f32::NAN), "details");
    assert_eq!(refused(|bad| bad.l1.as_mut().unwrap().units.reverse()), "details");
    assert_eq!(refused(|bad| bad.l1.as_mut().unwrap().weights.truncate(1)), "details");
}

#[test]
fn a_job_has_an_end() {
    use wire::job_part::{Concept, Part, Sentences};
    let part = |part| wire::JobPart { part: Some(part) };
    let sentences = |count: usize| part(Part::Sentences(Sentences { texts: vec![String::new(); count] }));
    let mut assembly = JobAssembly::with_room(2 << 20);
    // Empty ones take memory too.
    assembly.take(sentences(60_000)).unwrap();
    let refused = assembly.take(sentences(60_000)).unwrap_err();
    assert!(
        refused.to_string().contains("more than 2 MiB") && refused.to_string().contains("several jobs"),
        "{refused}"
    );
    let mut assembly = JobAssembly::with_room(2 << 20);
    assembly.take(sentences(1)).unwrap();
    let (id, negative) = (Some(ConceptId::new("a", "b").unwrap().into()), vec![0; 600_000]);
    let concept = part(Part::Concept(Concept { id, positive: Vec::new(), negative }));
    assert_eq!(assembly.take(concept).unwrap_err().field, "part");
}
