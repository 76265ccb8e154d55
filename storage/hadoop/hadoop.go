// Package hadoop is what clients of Hadoop's services share: the settings in core-site.xml and its
// siblings ([Load]), and who a client is ([Credentials]): a user's name, or a Kerberos login by keytab or ticket
// cache, of which there is one for the whole process. It starts no Java and asks no Hadoop command.
package hadoop
