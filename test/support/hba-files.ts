/** Files as people have them: distributions, clouds, containers, and what grew over years. */
export const HBA_FILES: Readonly<Record<string, string>> = {
  debian: `# PostgreSQL Client Authentication Configuration File
# ===================================================
#
# Refer to the "Client Authentication" section in the PostgreSQL
# documentation for a complete description of this file.

# DO NOT DISABLE!
# Database administrative login by Unix domain socket
local   all             postgres                                peer

# TYPE  DATABASE        USER            ADDRESS                 METHOD

# "local" is for Unix domain socket connections only
local   all             all                                     peer
# IPv4 local connections:
host    all             all             127.0.0.1/32            scram-sha-256
# IPv6 local connections:
host    all             all             ::1/128                 scram-sha-256
# Allow replication connections from localhost, by a user with the
# replication privilege.
local   replication     all                                     peer
host    replication     all             127.0.0.1/32            scram-sha-256
host    replication     all             ::1/128                 scram-sha-256
`,
  initdb: `local\tall\tall\ttrust
host\tall\tall\t127.0.0.1/32\ttrust
host\tall\tall\t::1/128\ttrust
local\treplication\tall\ttrust
`,
  container: `local all all trust
host all all 127.0.0.1/32 trust

# warning trust is enabled for all connections
# see https://www.postgresql.org/docs/15/auth-trust.html
host all all all scram-sha-256
`,
  netmasks: `host    all   all   192.168.12.10   255.255.255.255   md5
host    sales all   192.168.0.0     255.255.0.0       md5  # the old office
host    all   all   fe80::          ffff:ffff:ffff:ffff::  reject
`,
  windows:
    "# saved by an editor of another system\r\nhost all all 10.0.0.0/8 scram-sha-256\r\nhostssl all +admins all scram-sha-256\r\n",
  kubernetes: `local    all             all                                   peer map=local
hostssl  replication     streaming_replica  all                 cert map=cnpg_streaming_replica
hostssl  postgres        streaming_replica  all                 cert map=cnpg_streaming_replica
host     all             all                10.244.0.0/16       scram-sha-256
hostnossl all            all                0.0.0.0/0           reject
host     all             all                all                 scram-sha-256
`,
  patroni: `hostssl replication replicator 10.1.0.0/24 cert clientcert=verify-full
hostssl all postgres 10.1.0.0/24 scram-sha-256
hostssl all all .db.example.com scram-sha-256
hostnogssenc all all samenet scram-sha-256
local all all peer
`,
  ldap: `# people
host all +people 10.20.0.0/16 ldap ldapserver=ldap.example.net ldapprefix="cn=" ldapsuffix=", dc=example, dc=net"
host all all     10.21.0.0/16 ldap ldapserver=ldap.example.net ldapbasedn="dc=example, dc=net" ldapsearchattribute=uid ldaptls=1
`,
  quoting: `host "all","replication" "all" 10.0.0.0/8 scram-sha-256
host "My Database", "say ""hi""" "Anna #1" host.example.org scram-sha-256
host db-1,db-2,   db-3  app , 10.0.0.0/8 md5
`,
  continued: `host   accounts,billing,\\
       reporting   reader,writer \\
       10.9.8.0/24 scram-sha-256 # read by \\
the whole team
`,
  gss: `hostgssenc all all 0.0.0.0/0 gss include_realm=0 krb_realm=EXAMPLE.COM map=krb
host postgres all 192.168.93.0/24 ident map=omicron
local sameuser,samerole all md5
`,
  radius: `host all all 10.30.0.0/16 radius radiusservers="10.0.0.1,10.0.0.2" radiussecrets="one, two"
host all all 10.31.0.0/16 pam pamservice=postgresql pam_use_hostname=0
`,
  regular: `host "/^db\\d{2,4}$" /^.*_ro$ 10.0.0.0/8 scram-sha-256
hostssl all "/^(anna|bert)$",+ops samehost scram-sha-256
local all all reject`,
};
