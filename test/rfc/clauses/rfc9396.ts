import { fallsOn, type Standard } from './clause.js'

export const rfc9396: Standard = {
  name: 'RFC 9396',
  title: 'OAuth 2.0 Rich Authorization Requests',
  address: 'https://www.rfc-editor.org/rfc/rfc9396',
  leftOut:
    '§3 to §8 and §10 address the client and the authorization server; §9.2 is about introspection, which is not offered.',
  clauses: [
    {
      id: '9396-2-1',
      level: 'none',
      sentence: 'The value of the type field determines the allowable contents of the object that contains it.',
    },
    { id: '9396-2-2', level: 'REQUIRED', sentence: '[type] This field is REQUIRED.' },
    {
      id: '9396-9-1',
      level: 'MUST',
      sentence:
        'In order to enable the RS to enforce the authorization details as approved in the authorization process, the AS MUST make this data available to the RS.',
      doesNotApply: `${fallsOn.authorizationServer}; 9396-9.1-1 is the other side`,
    },
    {
      id: '9396-9.1-1',
      level: 'RECOMMENDED',
      sentence:
        'If the access token is a JWT [RFC7519], the AS is RECOMMENDED to add the authorization_details object, filtered to the specific audience, as a top-level claim.',
    },
    {
      id: '9396-12-1',
      level: 'none',
      sentence:
        'All string comparisons in an authorization_details parameter are to be done as defined by [RFC8259]. No additional transformation or normalization is to be done in evaluating equivalence of string values.',
    },
    {
      id: '9396-12-2',
      level: 'none',
      sentence:
        'The common data field locations allows a client to specify where it intends to use a certain authorization […]',
    },
  ],
}
